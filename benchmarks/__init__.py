"""Speed and scale, each measured by one command that prints ratios against a named baseline of the same run."""
