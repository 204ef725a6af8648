"""What the collected tests use, and the order in which they run."""
