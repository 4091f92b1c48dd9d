"""What `precompute.build_benchmark` is made of: reading packages, the pictures by name, recipes, drawing."""
