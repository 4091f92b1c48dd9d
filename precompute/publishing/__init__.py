"""What `precompute.publish` is made of: the layout of a release with its licences, and its two cards."""
