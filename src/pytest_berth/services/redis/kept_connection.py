"""The connection of `redis_client`: it stays open from test to test, and is as new for each.

To connect, and to make what redis-py keeps of a connection, takes as long as ten commands. A test's
client and its pool are new; the connection is put into the pool, reset: RESET ends all that a
connection can be in the midst of, and signs it out. It is sent as soon as a test has ended, and
answered by the time that the next one comes: nothing waits for a server that clients are paused on.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import redis

from pytest_berth.compat import redis_private
from pytest_berth.debug_log import debug
from pytest_berth.services.redis import clients

if TYPE_CHECKING:
    from collections.abc import Iterator

_ANSWERS_WITHIN = 1.0
_ERRORS = (redis.RedisError, OSError)


class KeptConnection:
    """A connection that one test after the other gets, in a client of its own.

    Args:
        url: The URL of the test's database.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection: Any = None
        self._process = os.getpid()

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """Yield a client for a test; what it has taken from its pool, and not given back, ends."""
        with clients.closing(clients.client(self.url)) as client:
            pool = client.connection_pool
            renewed = self._renewed()
            if renewed:
                redis_private.give(pool, renewed)
            yield client
            self._keep(redis_private.take_idle(pool))

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection and self._process == os.getpid():
            connection.disconnect()

    def _keep(self, idle: list[Any]) -> None:
        """Keep one connection, reset; close the rest."""
        if self._process != os.getpid():
            return
        kept, *others = idle or [None]
        for each in others:
            each.disconnect()
        if kept is None or not redis_private.is_connected(kept):
            return
        try:
            kept.send_command("RESET", check_health=False)
        except _ERRORS as error:
            debug("redis: the connection is not kept: %s", error)
            kept.disconnect()
        else:
            self._connection = kept

    def _renewed(self) -> Any:
        """Return the connection, signed in anew; None where there is none that is of use."""
        if self._process != os.getpid():
            return None  # it is of the process that this one was forked from
        connection, self._connection = self._connection, None
        if connection is None:
            return None
        try:
            answered = connection.can_read(_ANSWERS_WITHIN) and connection.read_response()
            if answered == b"RESET" or answered == "RESET":
                connection.on_connect()
                return connection
        except _ERRORS as error:
            debug("redis: the connection is made anew: %s", error)
        connection.disconnect()
        return None
