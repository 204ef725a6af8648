"""asyncpg's private names."""

from __future__ import annotations

from typing import Any

# The function of ``asyncpg.connect_utils`` that every way of connecting calls.
CONNECT = "_connect"


def address(connection: Any) -> Any:
    """Return host and port, or a socket's path; None for a connection of another driver."""
    return getattr(connection, "_addr", None)


def database(connection: Any) -> str:
    """Return the name of the database."""
    return getattr(connection._params, "database", "") or ""


def loop(connection: Any) -> Any:
    """Return the event loop that the connection belongs to."""
    return connection._loop


def transport(connection: Any) -> Any:
    """Return asyncio's transport of the connection; None where it is closed."""
    return connection._transport
