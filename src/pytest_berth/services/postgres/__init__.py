"""PostgreSQL: the service, its fixtures and its isolation."""
