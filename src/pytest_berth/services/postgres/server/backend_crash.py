"""A server whose process was killed: PostgreSQL ends all sessions, and empties all unlogged tables.

It goes on under the same postmaster, so that only its younger processes tell. Nothing that was
there before can be trusted any more: neither databases of tests nor the templates of theirs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    import psycopg

# The checkpointer lives as long as all other processes do.
_CHECKPOINTER = """
SELECT pid || ' since ' || extract(epoch FROM backend_start) FROM pg_catalog.pg_stat_activity
WHERE backend_type = 'checkpointer'
"""
_WITHIN = 30.0


def checkpointer(connection: psycopg.Connection[Any]) -> str:
    """Return process id and start of the server's checkpointer, which each crash replaces."""

    def find() -> str:
        row = connection.execute(_CHECKPOINTER).fetchone()
        return row[0] if row and row[0] else ""

    # Before version 15 it may begin a moment after connections are accepted.
    return wait_for(find, _WITHIN, message="the checkpointer's start")


def is_lost(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether the server has ended a connection, without asking it."""
    import psycopg

    try:
        # The server's last words come before the end.
        for _ in range(2):
            connection.pgconn.consume_input()
    except psycopg.OperationalError:
        return True
    return connection.closed
