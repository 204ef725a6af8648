"""redis-py's private names."""

from __future__ import annotations

from typing import Any

from pytest_berth.compat import asyncio_private


def idle(pool: Any) -> list[Any]:
    """Return the connections that a pool keeps for their next use; none of one that pretends."""
    return list(getattr(pool, "_available_connections", ()))


def in_use(pool: Any) -> list[Any]:
    """Return the connections that were taken from a pool of asyncio and not given back."""
    return list(pool._in_use_connections)


def abort(connection: Any) -> None:
    """Drop a connection of asyncio without awaiting: its loop may be closed, and is not ours."""
    writer = connection._writer
    connection._writer = connection._reader = None
    if writer is not None:
        asyncio_private.abort(writer.transport)
