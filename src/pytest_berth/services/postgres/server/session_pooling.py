"""Whether a pooler such as PgBouncer is between, and whether sessions are their clients' own there.

What berth sets and prepares on a session has to be there at the next statement, and to be nobody
else's. A pooler that gives a session to others between two transactions cannot do that.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pytest_berth.errors import StartError
from pytest_berth.services.postgres.server import connections

if TYPE_CHECKING:
    import psycopg

    from pytest_berth.api import Server

_SIGN = "pytest_berth.session"


def is_pooled(connection: psycopg.Connection[Any]) -> bool:
    """Tell whether a pooler is between: it may hand our session to others.

    It makes up the backend's pid that clients are told at the beginning.
    """
    backend = connections.value(connection, "SELECT pg_catalog.pg_backend_pid()")
    return backend is not None and int(backend) != connection.info.backend_pid


def require_own_sessions(connection: psycopg.Connection[Any], server: Server) -> None:
    """Refuse a pooler that gives sessions to others while their clients are there.

    A sign that one client leaves is seen by the next one, which gets the same session.

    Raises:
        StartError: It does.
    """
    if not is_pooled(connection):
        return
    sign = os.urandom(8).hex()
    _leave(connection, sign)
    with connections.connect_at_once(server, server.credentials.database) as other:
        found = other.execute(
            "SELECT pg_catalog.current_setting(%s, true)", [_SIGN], prepare=False
        ).fetchone()
    _leave(connection, "")
    if found == (sign,):
        raise StartError(
            f"the server at {server.host}:{server.port} gives the sessions of a client to others.",
            why="a pooler is between, such as PgBouncer with pool_mode = transaction or statement:"
            " what is set, prepared or locked on a session would be others'",
            remedy="name PostgreSQL itself in berth_pg_url, or let the pooler have"
            " pool_mode = session",
        )


def _leave(connection: psycopg.Connection[Any], sign: str) -> None:
    connection.execute("SELECT pg_catalog.set_config(%s, %s, false)", [_SIGN, sign], prepare=False)
