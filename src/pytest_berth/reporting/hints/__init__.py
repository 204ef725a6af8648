"""What a failure report adds about the likely cause of an error."""
