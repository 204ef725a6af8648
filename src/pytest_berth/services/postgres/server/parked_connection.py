"""The administrator's connection, which stays open from one step of a run to the next.

A start asks the server for one thing after the other: whether it answers, another password, the
template, the worker's database, what there is beside databases; and a run's end asks what can be
kept. With a connection for each, most of that time would go into connecting.
"""

from __future__ import annotations

import atexit
import threading
from typing import TYPE_CHECKING, Any

from pytest_berth.debug_log import debug
from pytest_berth.services.postgres.server import connections

if TYPE_CHECKING:
    import psycopg

    from pytest_berth.api import Server

_LOCK = threading.Lock()
# By the token of the server, which no other one has.
_PARKED: dict[str, psycopg.Connection[Any]] = {}


def park(server: Server, connection: psycopg.Connection[Any]) -> None:
    """Keep a connection for the next step; where there is one already, or cannot be, close it.

    Args:
        server: The server; those that berth has not started have no token, and keep none.
        connection: To the administrator's database, in autocommit mode.
    """
    token, kept = server.credentials.token, None
    with _LOCK:
        if token and not _PARKED:
            atexit.register(_close_all)
        if token:
            kept = _PARKED.setdefault(token, connection)
    if kept is not connection:
        connection.close()


def is_there(server: Server) -> bool:
    """Tell whether a connection is kept."""
    with _LOCK:
        return server.credentials.token in _PARKED


def take(server: Server) -> psycopg.Connection[Any] | None:
    """Return the connection that was kept, once; None where it does not lead there any more."""
    with _LOCK:
        connection = _PARKED.pop(server.credentials.token, None)
    if connection is None:
        return None
    import psycopg

    try:
        connections.require_ours(connection, server)
    except psycopg.Error as error:
        debug("%s: berth's connection is opened anew: %s", server.key, error)
        connection.close()
        return None
    except BaseException:
        connection.close()
        raise
    return connection


def _close_all() -> None:
    while _PARKED:
        _PARKED.popitem()[1].close()
