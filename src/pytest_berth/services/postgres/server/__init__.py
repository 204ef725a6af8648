"""A Postgres server: its start, accounts, connections and reset."""
