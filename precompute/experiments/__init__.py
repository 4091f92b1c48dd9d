"""What does not ship: the method that is given the pairs, and measures of the theory."""
