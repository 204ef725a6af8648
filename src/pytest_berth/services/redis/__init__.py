"""Redis, and Valkey: a flushed database number for every test."""
