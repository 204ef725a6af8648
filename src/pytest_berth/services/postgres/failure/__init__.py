"""What a failing test's report tells of Postgres: changes, what is left open, errors, a shell."""
