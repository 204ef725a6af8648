"""A server whose process was killed: PostgreSQL ends all sessions, and empties all unlogged tables.

It goes on under the same postmaster, so that only its younger processes tell. Nothing that was
there before can be trusted any more: neither databases of tests nor the templates of theirs.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from pytest_berth.services.postgres.databases import run_databases
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from pytest_berth.api import Server

# The checkpointer lives as long as all other processes do.
_SIGN = """
SELECT pid || ' since ' || extract(epoch FROM backend_start) FROM pg_catalog.pg_stat_activity
WHERE backend_type = 'checkpointer'
"""
# Of a connection that failed, libpq tells no SQLSTATE: "is in recovery mode", "is starting up".
_RECOVERING = "the database system is"
_WITHIN = 30.0


def sign(connection: psycopg.Connection[Any]) -> str:
    """Return what is another text after each crash of a server that berth has started."""

    def find() -> str:
        row = connection.execute(_SIGN).fetchone()
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


@contextmanager
def administration(server: Server) -> Iterator[psycopg.Connection[Any]]:
    """Connect to the administrator's database, when a server that recovers has done so.

    Raises:
        TimeoutError: It did not recover.
    """
    with ExitStack() as stack:

        def connect() -> psycopg.Connection[Any] | None:
            return _connection(stack, server)

        opened = wait_for(connect, _WITHIN, message="the server's recovery from a crash")
        assert opened
        yield opened


def _connection(stack: ExitStack, server: Server) -> psycopg.Connection[Any] | None:
    """Return a connection; None while the server recovers."""
    import psycopg

    try:
        return stack.enter_context(run_databases.administration(server))
    except psycopg.OperationalError as error:
        if _RECOVERING in str(error):
            return None
        raise
