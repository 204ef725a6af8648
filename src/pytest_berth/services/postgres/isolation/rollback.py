"""Rolls tests back, on one connection that stays open from test to test."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from pytest_berth.compat import sqlalchemy_private
from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres import sqlalchemy_compat
from pytest_berth.services.postgres.isolation import rollback_connection
from pytest_berth.services.postgres.isolation.sequences import Sequences
from pytest_berth.services.postgres.server import backend_crash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from sqlalchemy import Connection, Engine

    from pytest_berth.services.postgres.isolation.rollback_connection import OuterTransaction
    from pytest_berth.services.postgres.isolation.rollback_connection_psycopg2 import (
        OuterTransaction2,
    )
    from pytest_berth.services.postgres.schema import Step

    Outer: TypeAlias = OuterTransaction | OuterTransaction2

ROLLBACK = "the isolation 'rollback'"


@dataclass
class Rollback:
    """A worker's database, for tests that are rolled back.

    Attributes:
        url: SQLAlchemy URL of the database.
        connect: Opens a connection of a kind, and proves that it leads to the right server.
        ours: Whether the run has created the database: only then its sequences are set back.
        start_over: Makes the database anew, where a test has got out of its transaction, and is
            told so.
        before_end: What the running test's end has to wait for, once; its transaction is usable.
        connection: SQLAlchemy's connection of the test that runs now, if one does.
        running: What that began on, which SQLAlchemy may have given up meanwhile.
        is_shared: Whether others than the running test's session may have its connection.
    """

    url: str = field(repr=False)
    connect: rollback_connection.Connect = field(repr=False)
    ours: bool
    start_over: Callable[[str], object] = field(repr=False)
    connection: Connection | None = field(default=None, init=False, repr=False)
    before_end: Callable[[Outer], None] | None = field(default=None, init=False, repr=False)
    running: Outer | None = field(default=None, init=False, repr=False)
    is_shared: bool = field(default=False, init=False)
    _engine: Engine | None = field(default=None, init=False, repr=False)
    _used: Outer | None = field(default=None, init=False, repr=False)
    _sequences: Sequences | None = field(default=None, init=False, repr=False)
    _reads_anew: bool = field(default=False, init=False)

    @property
    def outer(self) -> Outer | None:
        """The connection of the test that runs now, if one does."""
        # Not by a new connection: giving that back would roll the test back.
        return _behind(self.connection) if self.connection else None

    @property
    def sequences(self) -> Mapping[str, str]:
        """Where the sequences stood before the test that runs now, by their ids."""
        return self._sequences.before if self._sequences and self.connection else {}

    @contextmanager
    def test(self, seeds: Sequence[Step]) -> Iterator[None]:
        """Open a test's transaction, and roll it back.

        Raises:
            IsolationError: The test has ended it by SQL.
        """
        if not seeds and sqlalchemy_compat.obstacle(ROLLBACK):
            # Nobody can get at the connection, which is SQLAlchemy's.
            yield
            return
        engine = self._open()
        outer, sequences = self._living(engine)
        sequences.remember(outer.begin_test(sequences.look))
        try:
            self.running, self.is_shared = outer, False
            with engine.connect() as self.connection:
                if seeds:
                    with sqlalchemy_private.committing(self.connection):
                        for step in seeds:
                            step.run_in(self.connection)
                try:
                    yield
                finally:
                    # What reads the end of the test wants it as the connection is given back.
                    outer.skips_rollback = self.before_end is None
        finally:
            self.connection = self.running = None
            self._call_before_end(outer)
            self._end(outer, sequences)

    def end_session(self) -> None:
        """Leave what the test's session is to roll back as it ends to the end of the test.

        In between, nobody can look at it: where somebody else may have the connection, or reads the
        end of the test, it is rolled back at once.
        """
        if self.running and not self.is_shared and self.before_end is None:
            self.running.skips_rollback = True

    def expect_changes(self) -> None:
        """Let the next test read anew how sequences stand: a fixture may set an unused one."""
        self._reads_anew = True

    def is_cut_off(self) -> bool:
        """Tell whether the server has ended the connection between two tests."""
        if self._engine is None:
            return False
        if self._last_used() is not None:
            return False
        outer = _outer_transaction(self._engine)
        return _is_lost(outer)

    def close(self) -> None:
        """Close the connection; the next test opens another one."""
        if self._engine:
            self._engine.dispose()
        self._engine = self._used = self._sequences = None

    def _open(self) -> Engine:
        if self._engine is None:
            sqlalchemy_compat.require(ROLLBACK)
            self._engine = _pinned_engine(self.url, self.connect)
        return self._engine

    def _living(self, engine: Engine) -> tuple[Outer, Sequences]:
        """Return the connection, a new one where the last test lost it, and its sequences."""
        outer = self._last_used()
        if outer is None:
            outer = _outer_transaction(engine)
            if outer.closed:
                engine.dispose()
                outer = _outer_transaction(engine)
        # SQLAlchemy, too, replaces a connection that it saw being lost.
        if self._sequences is None or self._used is not outer or self._reads_anew:
            self._used, self._sequences = outer, Sequences(outer, self.ours)
            self._reads_anew = False
        return outer, self._sequences

    def _last_used(self) -> Outer | None:
        """Return the connection of the last test, where it can be used still.

        Then it is that of the engine, too: SQLAlchemy closes what it replaces.
        """
        return None if self._used is None or _is_lost(self._used) else self._used

    def _call_before_end(self, outer: Outer) -> None:
        work, self.before_end = self.before_end, None
        if work and not outer.closed:
            if outer.is_aborted():
                outer.rollback()
            work(outer)

    def _end(self, outer: Outer, sequences: Sequences) -> None:
        if outer.closed:
            # The test may have gone on, and committed, on a connection that SQLAlchemy opened.
            self.start_over("a test has closed the connection that is rolled back")
            return
        try:
            answer = outer.end_test(sequences.setting_back, sequences.look_at_all)
        except IsolationError:
            self.start_over("a test has ended the transaction that is rolled back")
            raise
        if answer is None:
            self.start_over("the server has ended the connection that is rolled back")
        else:
            sequences.put_back(answer)


def _is_lost(outer: Outer) -> bool:
    """Tell whether a connection is closed, or the server has ended it, without asking it."""
    if isinstance(outer, rollback_connection.OuterTransaction):
        return backend_crash.is_lost(outer)
    return outer.is_lost()


def _pinned_engine(url: str, connect: rollback_connection.Connect) -> Engine:
    """Return an engine whose only connection is one that can be put into an outer transaction."""
    if sqlalchemy_compat.is_two():
        return rollback_connection.pinned_engine(url, connect)
    from pytest_berth.services.postgres.isolation import rollback_connection_psycopg2

    return rollback_connection_psycopg2.pinned_engine(url, connect)


def _outer_transaction(engine: Engine) -> Outer:
    """Return the only connection of a pinned engine."""
    with engine.connect() as connection:
        return _behind(connection)


def _behind(connection: Connection) -> Outer:
    """Return what SQLAlchemy's connection of a pinned engine stands for."""
    found: Any = connection.connection.dbapi_connection
    assert hasattr(found, "begin_test")
    return cast("Outer", found)
