"""The clean slate of rolled-back tests: one connection, kept open from test to test."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres import sqlalchemy_compat
from pytest_berth.services.postgres.isolation import rollback_connection
from pytest_berth.services.postgres.isolation.sequences import Sequences
from pytest_berth.services.postgres.server import backend_crash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection, Engine

    from pytest_berth.services.postgres.isolation.rollback_connection_psycopg2 import (
        OuterTransaction2,
    )
    from pytest_berth.services.postgres.schema import Step

ROLLBACK = "the isolation 'rollback'"


@dataclass
class RolledBack:
    """A worker's database, for tests that are rolled back.

    Attributes:
        url: SQLAlchemy URL of the database.
        connect: Opens a connection of a kind, and proves that it leads to the right server.
        ours: Whether the run has created the database: only then its sequences are set back.
        start_over: Makes the database anew, where a test has got out of its transaction.
    """

    url: str = field(repr=False)
    connect: rollback_connection.Connect = field(repr=False)
    ours: bool
    start_over: Callable[[], None] = field(repr=False)
    connection: Connection | None = field(default=None, init=False, repr=False)

    @property
    def outer(self) -> rollback_connection.OuterTransaction | OuterTransaction2 | None:
        """The connection of the test that runs now, if one does."""
        # Not by a new connection: giving that back would roll the test back.
        return rollback_connection.behind(self.connection) if self.connection else None

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
        outer = self._open()
        self._sequences.remember(outer.begin_test())
        try:
            with self._engine.connect() as self.connection:
                with sqlalchemy_compat.committing(self.connection):
                    for step in seeds:
                        step.run_in(self.connection)
                yield
        finally:
            self.connection = None
            self._end(outer)

    def is_cut_off(self) -> bool:
        """Tell whether the server has ended the connection between two tests."""
        if "_engine" not in self.__dict__:
            return False
        outer = rollback_connection.outer_transaction(self._engine)
        if isinstance(outer, rollback_connection.OuterTransaction):
            return backend_crash.is_lost(outer)
        return outer.is_lost()

    def close(self) -> None:
        """Close the connection."""
        if "_engine" in self.__dict__:
            self._engine.dispose()

    @cached_property
    def _engine(self) -> Engine:
        sqlalchemy_compat.require(ROLLBACK)
        return rollback_connection.pinned_engine(self.url, self.connect)

    @cached_property
    def _sequences(self) -> Sequences:
        return Sequences(rollback_connection.outer_transaction(self._engine))

    def _open(self) -> rollback_connection.OuterTransaction | OuterTransaction2:
        """Return the connection, a new one where the last test lost it."""
        outer = rollback_connection.outer_transaction(self._engine)
        if outer.closed:
            self._engine.dispose()
            outer = rollback_connection.outer_transaction(self._engine)
        # SQLAlchemy, too, replaces a connection that it saw being lost.
        if self._sequences.connection is not outer:
            self._sequences = Sequences(outer)
        return outer

    def _end(self, outer: rollback_connection.OuterTransaction | OuterTransaction2) -> None:
        if outer.closed:
            # The test may have gone on, and committed, on a connection that SQLAlchemy opened.
            self.start_over()
            return
        try:
            signature = outer.end_test()
        except IsolationError:
            self.start_over()
            raise
        if self.ours:
            self._sequences.put_back(signature)
