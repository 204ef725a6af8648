"""How a test gets a clean database: rollback, truncation, a database of its own."""
