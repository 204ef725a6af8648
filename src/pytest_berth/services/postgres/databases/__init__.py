"""Databases: the template, its clones, and what tests get of them."""
