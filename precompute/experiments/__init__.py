"""What was tried and does not ship: other forms of the method, and baselines."""
