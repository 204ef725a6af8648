"""Says, in messages, which isolations serve where a test's does not, and which test runs now."""

from __future__ import annotations

import os

TRUNCATION = '@pytest.mark.berth_pg(isolation="truncation")'
PRIVATE = '@pytest.mark.berth_pg(isolation="database")'
# For what a transaction around the test rules out; a private database rules out nothing.
COMMITS = f"{TRUNCATION}\nor a database of its own: {PRIVATE}"


def running_test() -> str:
    """Return the node id of the test that runs now, for messages."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").partition(" ")[0] or "a test"


def crash_note(when: str) -> str:
    """Return the note on a crash that was recovered from.

    Args:
        when: When it was seen, as the part of a sentence.
    """
    return (
        f"postgres: {when}, the server crashed and recovered, as one of its processes was killed;"
        " that empties unlogged tables, so the template and the database were made anew; what"
        " fixtures of a wider scope had written is gone"
    )
