"""What messages advise where a test's isolation cannot serve: those that can."""

from __future__ import annotations

TRUNCATION = '@pytest.mark.berth_pg(isolation="truncation")'
PRIVATE = '@pytest.mark.berth_pg(isolation="database")'
# For what a transaction around the test rules out; a private database rules out nothing.
COMMITS = f"{TRUNCATION}\nor a database of its own: {PRIVATE}"
