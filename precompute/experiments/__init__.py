"""What does not ship: the method that is given the pairs, measures of the theory, and a fine-tuned backbone."""
