"""The async counterparts of the fixtures."""
