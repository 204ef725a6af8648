"""The connection of `redis_client`: it stays open from test to test, and is as new for each.

To connect, and to make what redis-py keeps of a connection, takes as long as ten commands. A test's
client and its pool are new; the connection is put into the pool, reset: RESET ends all that a
connection can be in the midst of, and signs it out. It is sent as soon as a test has ended, with
all that redis-py says on a new connection, and answered by the time that the next test comes:
nothing waits for a server that clients are paused on. What is said is learnt from redis-py, which
reads the answers in its own way.
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
    from collections.abc import Callable, Iterator

_ANSWERS_WITHIN = 1.0
_RESET, _IS_RESET = ("RESET",), b"+RESET\r\n"
_ERRORS = (redis.RedisError, OSError)


class UnlikeGreetingError(redis.RedisError):
    """redis-py would have said something else on the new connection than was said ahead."""


class KeptConnection:
    """A connection that one test after the other gets, in a client of its own.

    Args:
        url: The URL of the test's database.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._connection: Any = None
        self._greeting: list[tuple[Any, ...]] | None = None
        self._process = os.getpid()

    @contextmanager
    def client(self) -> Iterator[redis.Redis]:
        """Yield a client for a test; what it has taken from its pool, and not given back, ends."""
        with clients.closing(clients.client(self.url)) as client:
            pool = client.connection_pool
            connection = self._renewed() or self._first(pool)
            if connection:
                redis_private.give(pool, connection)
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
        if self._greeting is None:
            kept.disconnect()
            return
        try:
            if kept.can_read(0):
                raise UnlikeGreetingError("an answer was left on it")
            kept.send_packed_command(
                kept.pack_commands([_RESET, *self._greeting]), check_health=False
            )
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
            if redis_private.receive(connection, len(_IS_RESET), _ANSWERS_WITHIN) == _IS_RESET:
                self._greet(connection)
                return connection
        except _ERRORS as error:
            debug("redis: the connection is made anew: %s", error)
        connection.disconnect()
        return None

    def _greet(self, connection: Any) -> None:
        """Let redis-py begin anew, which has been answered already, as long as it says the same."""
        left = list(self._greeting or ())

        def say(*command: Any, **_: Any) -> None:
            if not left or command != left.pop(0):
                raise UnlikeGreetingError("a test has changed how the connection is to begin")

        with _saying(connection, say):
            connection.on_connect()
        if left:
            raise UnlikeGreetingError("a test has changed how the connection is to begin")

    def _first(self, pool: Any) -> Any:
        """Return the first connection of all, and learn what redis-py says on it; else None."""
        if self._greeting is not None or self._process != os.getpid():
            return None
        connection, said = pool.make_connection(), list[tuple[Any, ...]]()
        send = connection.send_command

        def say(*command: Any, **options: Any) -> None:
            said.append(command)
            send(*command, **options)

        try:
            with _saying(connection, say):
                connection.connect()
        except _ERRORS as error:
            debug("redis: the connection is left to the test: %s", error)
            connection.disconnect()
            return None
        self._greeting = said
        return connection


@contextmanager
def _saying(connection: Any, say: Callable[..., None]) -> Iterator[None]:
    """Have a function called in place of the connection's own that sends."""
    connection.send_command = say
    try:
        yield
    finally:
        del connection.send_command
