"""What does not ship: methods that are given the pairs, measures of the theory, and a fine-tuned backbone."""
