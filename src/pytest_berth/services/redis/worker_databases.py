"""The database numbers that are a worker's own, and berth's connections to them."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import redis

from pytest_berth.services.redis import clients, server_state
from pytest_berth.services.redis.clients import packed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from pytest_berth.api import Server
    from pytest_berth.services.redis.clients import Packed
    from pytest_berth.services.redis.server_state import Marks, Standing

Token = tuple[int, ...]
_KEYSPACE, _PERSISTENCE, _COMMANDS = (
    packed(("INFO", section)) for section in ("keyspace", "persistence", "commandstats")
)
_SIZE, _UNPAUSE, _FLUSH = map(packed, (("DBSIZE",), ("CLIENT", "UNPAUSE"), ("FLUSHDB",)))
_ASKS_FOR_SCRIPTS = packed(("EVAL", "return 1", 0))
_CHANGES = re.compile(rb"^(?:rdb_changes_since_last_save|rdb_last_save_time):(\d+)", re.MULTILINE)
_NUMBER = re.compile(rb"^db(\d+):keys=", re.MULTILINE)


class Look(NamedTuple):
    """What one round trip tells.

    Attributes:
        filled: The worker's numbers that hold keys.
        marks: What tells of commands that concern the whole server; None where others use it, too.
        token: What the server says of its changes; None if that was not asked, or is secret.
    """

    filled: AbstractSet[int]
    marks: Marks | None
    token: Token | None = None


@dataclass
class WorkerDatabases:
    """The databases that are a worker's own on a server, by their numbers.

    Attributes:
        server: The server.
        number: The number that its tests are told.
        numbers: All that are the worker's own, that one included.
        home: berth's own client in the number.
        is_alone: Whether nobody else uses the server, so that all of it can be put back.
        answers_within: Seconds that an answer may take; None for the usual ones.
        dirty: The numbers that held other keys than they are to hold, since somebody has asked.
    """

    server: Server
    number: int
    numbers: range
    home: redis.Redis
    is_alone: bool = False
    answers_within: float | None = None
    dirty: set[int] = field(default_factory=set, init=False, repr=False)
    _others: dict[int, redis.Redis] = field(default_factory=dict, init=False, repr=False)
    _seen: tuple[Marks, Standing] | None = field(default=None, init=False, repr=False)
    _has_scripts: bool | None = field(default=None, init=False, repr=False)

    def at(self, number: int) -> redis.Redis:
        """Return berth's own client in one of the numbers."""
        if number == self.number:
            return self.home
        if number not in self._others:
            self._others[number] = clients.berths_own(
                self.server, number, answers_within=self.answers_within
            )
        return self._others[number]

    def look(self, *, token: bool = False, ending: bool = False, flush: bool = False) -> Look:
        """Look which numbers hold keys, and what has been done to the server.

        Args:
            token: Whether to ask how many changes there have been.
            ending: Whether a test has ended, which may have paused all clients.
            flush: Whether to empty the number of the tests in the same round trip.
        """
        commands = _KEYSPACE if len(self.numbers) > 1 else _SIZE
        if token:
            commands += _PERSISTENCE
        if self.is_alone:
            commands += _COMMANDS
            if ending:
                commands += _UNPAUSE
        if flush:
            commands += _FLUSH
        found, *more = clients.ask(self.home, commands)
        changes = _changes(more.pop(0)) if token else None
        is_flushed = flush and more.pop() == b"OK"
        for answer in (found, *more):
            if isinstance(answer, Exception):
                raise answer
        filled = self._filled(found)
        self.dirty |= {self.number} & filled if is_flushed else set()
        return Look(
            filled - {self.number} if is_flushed else filled,
            server_state.marks(more[0]) if self.is_alone else None,
            changes,
        )

    def token(self) -> Token | None:
        """Return the server's count of changes, and when it last began anew; None if secret.

        Equal ones mean that no key has changed.
        """
        (answer,) = clients.ask(self.home, _PERSISTENCE)
        return _changes(answer)

    def run(self, number: int, commands: Packed) -> Token | None:
        """Run commands in one of the numbers, and return the token as it is afterwards.

        Raises:
            redis.ResponseError: The server refuses one of them.
        """
        *answers, found = clients.ask(self.at(number), commands + _PERSISTENCE)
        executed = answers[-1] if isinstance(answers[-1], list) else ()  # what EXEC answers
        for answer in (*answers, *executed):
            if isinstance(answer, redis.ResponseError):
                raise answer
        return _changes(found)

    def has_scripts(self) -> bool:
        """Tell whether the server runs scripts for berth, as Redis does unless it is forbidden."""
        if self._has_scripts is None:
            (answer,) = clients.ask(self.home, _ASKS_FOR_SCRIPTS)
            self._has_scripts = answer == 1
        return self._has_scripts

    def standing(self, look: Look) -> Standing | None:
        """Return what stands on the server beside keys; None where others use it, too."""
        if look.marks is None:
            return None
        if self._seen is None or self._seen[0] != look.marks:
            found = server_state.read(self.home)
            self._seen = (self.look().marks or (), found)
        return self._seen[1]

    def is_seen(self, look: Look, standing: Standing | None) -> bool:
        """Tell, without asking, whether what stands beside keys is what is given."""
        return look.marks is None or self._seen == (look.marks, standing)

    def put_back(self, look: Look, before: Standing) -> list[str]:
        """Put back what stands on the server beside keys; return the names of what cannot be."""
        if self._seen == (look.marks, before):
            return []
        left = server_state.put_back(self.home, before)
        self._seen = (self.look().marks or (), before)
        return left

    def forget(self) -> None:
        """Close the connections to a server that another one has taken the place of."""
        self._seen = self._has_scripts = None
        for client in (self.home, *self._others.values()):
            client.connection_pool.disconnect()

    def close(self) -> None:
        """Close all connections but the home's."""
        for client in self._others.values():
            with clients.closing(client):
                pass

    def _filled(self, found: Any) -> AbstractSet[int]:
        if isinstance(found, int):
            return {self.number} if found else set()
        return {number for number in map(int, _NUMBER.findall(found)) if number in self.numbers}


@contextmanager
def closing(databases: WorkerDatabases) -> Iterator[WorkerDatabases]:
    """Close all connections to a worker's databases but that of its home."""
    databases.home.set_response_callback("INFO", _raw)  # most of it would be parsed for nothing
    try:
        yield databases
    finally:
        databases.close()


def _changes(answer: Any) -> Token | None:
    if isinstance(answer, redis.exceptions.NoPermissionError):
        return None
    if isinstance(answer, Exception):
        raise answer
    return tuple(map(int, _CHANGES.findall(answer)))


def _raw(answer: Any, **_: Any) -> bytes:
    return cast("bytes", answer)
