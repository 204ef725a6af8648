"""redis-py's private names, without an import of it: runs that need no Redis know of them, too."""

from __future__ import annotations

from typing import Any

from pytest_berth.compat import asyncio_private


def idle(pool: Any) -> list[Any]:
    """Return the connections that a pool keeps for their next use; none of one that pretends."""
    return list(getattr(pool, "_available_connections", ()))


def in_use(pool: Any) -> list[Any]:
    """Return the connections that were taken from a pool and not given back."""
    if hasattr(pool, "_in_use_connections"):
        return list(pool._in_use_connections)
    # A pool that waits for a free one keeps those in a queue.
    kept, free = getattr(pool, "_connections", ()), getattr(pool.pool, "queue", ())
    return [each for each in kept if not any(each is other for other in free)]


def take(pool: Any) -> Any:
    """Take a connection, which may be new, out of a pool."""
    import redis

    # Before redis-py 5.3, the name of a command is asked for, for nothing.
    if redis.VERSION < (5, 3):
        return pool.get_connection("_")
    return pool.get_connection()


def take_idle(pool: Any) -> list[Any]:
    """Take those connections out of a pool which it keeps for their next use."""
    available = getattr(pool, "_available_connections", None)
    taken = []
    while available:
        taken.append(available.pop())
    return taken


def give(pool: Any, connection: Any) -> None:
    """Let a pool use a connection next, as one that was given back to it."""
    pool._available_connections.append(connection)


def is_connected(connection: Any) -> bool:
    """Tell whether a connection has been made, and was not closed on this side."""
    return getattr(connection, "_sock", None) is not None


def receive(connection: Any, size: int, within: float) -> bytes:
    """Return the next bytes that come over a connection, past the buffer of its parser.

    Args:
        connection: A connection of which nothing is left to be read in that buffer.
        size: How many.
        within: Seconds until the first of them has to come.

    Raises:
        OSError: None come in time.
    """
    sock, before = connection._sock, connection._sock.gettimeout()
    sock.settimeout(within)
    try:
        received = b""
        while len(received) < size:
            part = sock.recv(size - len(received))
            if not part:
                break
            received += part
    finally:
        sock.settimeout(before)
    return bytes(received)


def local_port(connection: Any) -> int:
    """Return the port that a connection has on this side; 0 if it is not connected by TCP."""
    writer = getattr(connection, "_writer", None)
    if writer is not None:
        name = writer.get_extra_info("sockname")
    else:
        try:
            name = connection._sock.getsockname()
        except (AttributeError, OSError):
            return 0
    return int(name[1]) if isinstance(name, tuple) else 0


def abort(connection: Any) -> None:
    """Drop a connection of asyncio without awaiting: its loop may be closed, and is not ours."""
    writer = connection._writer
    connection._writer = connection._reader = None
    if writer is not None:
        asyncio_private.abort(writer.transport)
