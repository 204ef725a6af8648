"""MongoDB: a database for every worker, put back after each test."""
