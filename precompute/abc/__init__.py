"""What the AbC steps are made of: reading the authors' files, their evaluation counted exactly, and the table of results."""
