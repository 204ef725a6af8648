"""The connection of `redis_client`: it stays open from test to test, and is as new for each.

To connect, and to make what redis-py keeps of a connection, takes as long as ten commands. A test's
client and its pool are new; the connection is put into the pool, reset: RESET ends all that a
connection can be in the midst of, and signs it out. It is sent as soon as a test has ended, with
all that redis-py has said when the connection was new, and answered by the time that the next test
comes: nothing waits for a server that clients are paused on. A connection whose object, or one of
whose classes, is not as it was when it was new is closed: a test has changed how it is to behave.
What redis-py says on the next one is learnt anew.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import redis

from pytest_berth.compat import redis_private
from pytest_berth.debug_log import debug
from pytest_berth.services.redis import clients
from pytest_berth.services.redis.clients import packed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.services.redis.clients import Packed

_ANSWERS_WITHIN = 1.0
_RESET, _IS_RESET = ("RESET",), b"RESET"
_ERRORS = (redis.RedisError, OSError)


class UnlikeFirstError(redis.RedisError):
    """A connection is not as it was when it was new."""


class KeptConnection:
    """A connection that one test after the other gets, in a client of its own.

    Args:
        url: The URL of the test's database.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._clients = clients.Clients(url)
        self._connection: Any = None
        # What is sent after a test, and what the connection and its classes were like when it was
        # new.
        self._renewal: Packed | None = None
        self._state: Any = None
        self._classes: dict[type, dict[str, Any]] = {}
        self._process = os.getpid()

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """Yield a client for a test; what it has taken from its pool, and not given back, ends."""
        with clients.closing(self._clients.new()) as client:
            pool = client.connection_pool
            connection = self._renewed(pool) or self._first(pool)
            if connection:
                redis_private.give(pool, connection)
            yield client
            self._keep(pool, redis_private.take_idle(pool))

    def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection and self._process == os.getpid():
            connection.disconnect()

    def _keep(self, pool: Any, idle: list[Any]) -> None:
        """Keep one connection, reset; close the rest."""
        if self._process != os.getpid():
            return
        kept, *others = idle or [None]
        for each in others:
            each.disconnect()
        if kept is None or not redis_private.is_connected(kept):
            return
        try:
            self._renew(pool, kept)
        except _ERRORS as error:
            debug("redis: the connection is not kept: %s", error)
            kept.disconnect()
        else:
            self._connection = kept

    def _renew(self, pool: Any, connection: Any) -> None:
        """Reset a connection, and sign it in anew; the answers are read before the next test.

        Raises:
            UnlikeFirstError: It is another one, or not as it was.
        """
        if self._renewal is None or redis_private.state(connection) != self._state:
            raise UnlikeFirstError("a test has changed it, or how it is to begin")
        self._require_same_classes(pool)
        connection.send_packed_command([self._renewal.sent], check_health=False)

    def _require_same_classes(self, pool: Any) -> None:
        if not redis_private.are_unchanged(self._classes, pool):
            raise UnlikeFirstError("a class of redis-py was patched, or is no longer")

    def _renewed(self, pool: Any) -> Any:
        """Return the connection, signed in anew; None where there is none that is of use."""
        if self._process != os.getpid():
            return None  # it is of the process that this one was forked from
        connection, self._connection = self._connection, None
        if connection is None or self._renewal is None:
            return None
        try:
            self._require_same_classes(pool)
            first, *_ = redis_private.receive(connection, self._renewal.answers, _ANSWERS_WITHIN)
            if first != _IS_RESET:
                raise UnlikeFirstError("an answer was left on it")
        except _ERRORS as error:
            debug("redis: the connection is made anew: %s", error)
            connection.disconnect()
            return None
        return connection

    def _first(self, pool: Any) -> Any:
        """Return a new connection, and learn what redis-py says on it; None where it cannot be."""
        if self._process != os.getpid():
            return None
        connection, said = pool.make_connection(), list[tuple[Any, ...]]()
        send = connection.send_command

        def say(*command: Any, **options: Any) -> None:
            said.append(command)
            send(*command, **options)

        connection.send_command = say
        try:
            connection.connect()
        except _ERRORS as error:
            debug("redis: the connection is left to the test: %s", error)
            connection.disconnect()
            return None
        finally:
            del connection.send_command
        self._renewal = packed(_RESET, *said)
        self._state = redis_private.state(connection)
        self._classes = redis_private.classes(pool, connection)
        return connection
