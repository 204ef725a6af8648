"""One run: its registry, the servers' starts, and their removal after a crash."""
