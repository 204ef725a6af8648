"""redis-py's private names, without an import of it: runs that need no Redis know of them, too."""

from __future__ import annotations

import os
import threading
from typing import Any

from pytest_berth.compat import asyncio_private

_IMMUTABLE = {bool, int, float, str, bytes, type(None)}
_CHANGEABLE = {list, dict, set}
_LOCKS = {type(make()): make for make in (threading.Lock, threading.RLock)}
# What a pool has for all of its connections: sets of fields for HIMPORT.
_OF_POOL = "himport_registry"


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


def another(client: Any, pool: Any) -> Any:
    """Return a client like one that nobody has used, for a pool of its own; None if unknown how.

    To make one takes redis-py longer than two commands, most of that for a table of functions.
    """
    made = object.__new__(type(client))
    for name, value in vars(client).items():
        kind = type(value)
        if value is client.connection_pool:
            own = pool
        elif kind in _IMMUTABLE:
            own = value
        elif isinstance(value, dict):
            own = dict.__new__(kind)
            dict.update(own, value)
        elif kind in _LOCKS:
            own = _LOCKS[kind]()
        elif name == "_event_dispatcher":
            own = kind()
        else:
            return None
        vars(made)[name] = own
    return made


def state(connection: Any) -> Any:
    """Return what a connection is like: equal for one that nobody has changed meanwhile."""
    return {name: _state(value) for name, value in vars(connection).items() if name != _OF_POOL}


def classes(pool: Any, connection: Any) -> dict[type, dict[str, Any]]:
    """Return the classes by which a pool makes a connection that greets, with what they consist of.

    They are those of the pool, of the connection, and of its parts that pack, parse, try again.
    """
    parts = (type(each) for each in vars(connection).values())
    of_redis = (kind for kind in parts if kind.__module__.startswith("redis."))
    kinds = (type(pool), type(connection), *of_redis)
    return {base: dict(vars(base)) for kind in kinds for base in kind.__mro__[:-1]}


def are_unchanged(kept: dict[type, dict[str, Any]], pool: Any) -> bool:
    """Tell whether `classes` are as they were, nothing patched, and a pool is of that class."""
    is_same_pool = next(iter(kept)) is type(pool)
    return is_same_pool and all(vars(kind) == own for kind, own in kept.items())


def _state(value: Any) -> Any:
    kind = type(value)
    if kind in _IMMUTABLE:
        return value
    if kind in _CHANGEABLE:
        return value.copy()
    if kind.__module__.startswith("redis."):
        # Its parts: how it encodes, parses, tries again. What they consist of in turn is their own.
        names = (*getattr(kind, "__slots__", ()), *getattr(value, "__dict__", ()))
        return value, [_copy(getattr(value, name, None)) for name in names]
    return value


def _copy(value: Any) -> Any:
    return value.copy() if type(value) in _CHANGEABLE else value


def take(pool: Any) -> Any:
    """Take a connection, which may be new, out of a pool.

    One that is there, is connected and has nothing to be read is taken past redis-py's own method,
    which keeps account of it for others: `put_back` it.
    """
    import redis

    available = getattr(pool, "_available_connections", None)
    if available and pool.pid == os.getpid():
        connection = available.pop()
        try:
            is_ready = is_connected(connection) and not connection.can_read(0)
        except (redis.RedisError, OSError):
            is_ready = False
        if is_ready:
            return connection
        available.append(connection)

    # Before redis-py 5.3, the name of a command is asked for, for nothing.
    if redis.VERSION < (5, 3):
        return pool.get_connection("_")
    return pool.get_connection()


def put_back(pool: Any, connection: Any) -> None:
    """Give a connection back that was taken by `take`."""
    if connection in getattr(pool, "_in_use_connections", ()):
        pool.release(connection)
    else:
        pool._available_connections.append(connection)


def take_idle(pool: Any) -> list[Any]:
    """Take those connections out of a pool which it keeps for their next use."""
    available = getattr(pool, "_available_connections", None)
    taken = []
    while available:
        taken.append(available.pop())
    return taken


def give(pool: Any, connection: Any) -> None:
    """Let a pool use a connection next, as one that was given back to it."""
    if hasattr(pool, _OF_POOL) and hasattr(connection, _OF_POOL):
        setattr(connection, _OF_POOL, getattr(pool, _OF_POOL))
    pool._available_connections.append(connection)


def is_connected(connection: Any) -> bool:
    """Tell whether a connection has been made, and was not closed on this side."""
    return getattr(connection, "_sock", None) is not None


def receive(connection: Any, answers: int, within: float) -> list[Any]:
    """Return the next answers that come over a connection.

    Args:
        connection: The connection.
        answers: How many.
        within: Seconds in which each of them has to come.

    Raises:
        redis.RedisError: One is an error, or comes too late; it is closed where one is missing.
    """
    sock, before = connection._sock, connection._sock.gettimeout()
    sock.settimeout(within)
    try:
        return [connection.read_response() for _ in range(answers)]
    finally:
        if connection._sock is sock:
            sock.settimeout(before)


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
