"""What `precompute.publish` is made of: the layout of a release, its licences, its two cards, and the way to the hub."""
