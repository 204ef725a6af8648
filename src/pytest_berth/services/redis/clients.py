"""redis-py's clients, set up so that nothing waits or tries again where a test would not."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

if TYPE_CHECKING:
    from collections.abc import Iterator

_CONNECT_WITHIN = 5.0
# redis-py 8 gives up reading after 5 s, also within a longer BLPOP, and then tries ten times more.
_PATIENT: dict[str, Any] = {"socket_timeout": None, "socket_connect_timeout": _CONNECT_WITHIN}


# That each connection tells its library's version, which is looked up each time, takes 2 ms.
_UNNAMED: dict[str, Any] = (
    {"driver_info": None}
    if find_spec("redis.driver_info")
    else {"lib_name": None, "lib_version": None}
)


def client(url: str, **options: Any) -> redis.Redis:
    """Return a client that waits for blocking commands, and tells at once of a closed port."""
    return redis.Redis.from_url(
        url, **{**_PATIENT, **_UNNAMED, "retry": Retry(NoBackoff(), 0), **options}
    )


def async_client(url: str) -> redis.asyncio.Redis:
    """Return the same for asyncio; it belongs to no event loop before its first command."""
    return redis.asyncio.Redis.from_url(
        url, **_PATIENT, **_UNNAMED, retry=AsyncRetry(NoBackoff(), 0)
    )


@contextmanager
def closing(opened: redis.Redis) -> Iterator[redis.Redis]:
    """Close all connections of a client, also those that a test has not given back."""
    try:
        yield opened
    finally:
        opened.connection_pool.disconnect(inuse_connections=True)
        opened.close()


@contextmanager
def closing_async(opened: redis.asyncio.Redis) -> Iterator[redis.asyncio.Redis]:
    """Close all connections of a client of asyncio, whether or not their loop lives on."""
    try:
        yield opened
    finally:
        pool: Any = opened.connection_pool
        for connection in [*pool._available_connections, *pool._in_use_connections]:
            _abort(connection)


def _abort(connection: Any) -> None:
    """Drop a connection without awaiting: its loop may be closed, and is not ours to run."""
    writer = connection._writer
    connection._writer = connection._reader = None
    if writer is None:
        return
    with suppress(RuntimeError):  # the loop is closed
        writer.transport.abort()
        return
    # asyncio's transports close their socket in a callback, which a closed loop never calls.
    transport, sock = writer.transport, getattr(writer.transport, "_sock", None)
    if sock is not None:
        transport._sock = None
        sock.close()
