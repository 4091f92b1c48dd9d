"""What steps do otherwise for a gallery too large to be taken at once."""
