"""Says, in messages, which isolations serve where a test's does not, and which test runs now."""

from __future__ import annotations

import os

TRUNCATION = '@pytest.mark.berth_pg(isolation="truncation")'
PRIVATE = '@pytest.mark.berth_pg(isolation="database")'
# For what a transaction around the test rules out; a private database rules out nothing.
COMMITS = f"{TRUNCATION}\nor a database of its own: {PRIVATE}"


def running_test() -> str:
    """Return the node id of the test that runs now, for messages."""
    return os.environ.get("PYTEST_CURRENT_TEST", "a test").partition(" ")[0]
