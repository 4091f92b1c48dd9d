"""What `precompute.build_benchmark` is made of: reading packages, the curated list, recipes, drawing, files."""
