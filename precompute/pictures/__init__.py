"""Pictures that are drawn: views of one image, and synthetic images made from it."""
