"""Checks that take minutes to hours, outside the ordinary test run: ``python -m tests.endurance --help``."""
