"""What does not ship: the method that is given the pairs, measures of the theory, and the former features at two sizes."""
