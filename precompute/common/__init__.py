"""What the precompute steps share: the command line, resumable shards, and the list of images to embed."""
