"""Command-line steps that make a bundle; README.md lists them in order. The steps meet only through files."""
