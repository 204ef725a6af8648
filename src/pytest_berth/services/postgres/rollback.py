"""The connection of rolled-back tests: its commits and rollbacks are savepoints.

One connection is kept open per worker. A test's work happens between an outer BEGIN and ROLLBACK
that the test cannot reach through psycopg or SQLAlchemy; what it commits or rolls back in between
ends a savepoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import psycopg
from psycopg.pq import ExecStatus, TransactionStatus
from sqlalchemy import create_engine
from sqlalchemy.pool import StaticPool

from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres.advice import COMMITS
from pytest_berth.services.postgres.sessions import PAST_ROLLBACK, Driver, make_new

if TYPE_CHECKING:
    from psycopg.pq.abc import PGresult
    from sqlalchemy import Connection, Engine

# What it returns changes whenever a sequence does; a transaction's end does not put them back.
_SEQUENCES = (
    b"SELECT coalesce(string_agg(seqrelid || '=' || "
    b"coalesce(pg_catalog.pg_sequence_last_value(seqrelid)::text, '-'), ' '), '') "
    b"FROM pg_catalog.pg_sequence"
)
_BEGIN = b"BEGIN; SAVEPOINT berth_outer; SAVEPOINT berth_commit; " + _SEQUENCES
_COMMIT = b"RELEASE SAVEPOINT berth_commit; SAVEPOINT berth_commit"
_ROLLBACK = b"ROLLBACK TO SAVEPOINT berth_commit"
# The first statement fails when the test has ended the outer transaction behind our back.
_END = b"ROLLBACK TO SAVEPOINT berth_outer; ROLLBACK; " + PAST_ROLLBACK + b"; " + _SEQUENCES


class Connect(Protocol):
    """Opens a connection in autocommit mode."""

    def __call__(self, *, kind: type[psycopg.Connection[Any]]) -> psycopg.Connection[Any]:
        """Return a new connection of a kind."""


class OuterTransaction(psycopg.Connection[Any]):
    """A psycopg connection that can be put into an outer transaction."""

    _in_test = False
    _before_tests: Driver | None = None

    def begin_test(self) -> bytes:
        """Open the outer transaction; return a signature of where the sequences stand."""
        self._before_tests = self._before_tests or Driver.of(self)
        signature = _value(self.send(_BEGIN))
        self._in_test = True
        return signature

    def end_test(self) -> bytes:
        """Roll the outer transaction back; return a signature of where the sequences stand.

        Raises:
            IsolationError: The test has ended it by SQL, so its changes may have stayed.
        """
        assert self._before_tests, "begin_test() comes first"
        self._in_test = False
        result = self.pgconn.exec_(_END)
        if result.status == ExecStatus.FATAL_ERROR:
            self.pgconn.exec_(b"ROLLBACK")
            make_new(self, self._before_tests)
            raise IsolationError(
                "the test ended the transaction that it was to be rolled back with.",
                why="it sent COMMIT, ROLLBACK or BEGIN as SQL text on a rolled-back connection",
                remedy=f"give it real transactions: {COMMITS}",
            )
        self._before_tests.put_back(self)
        return _value(result)

    def commit(self) -> None:
        """Commit; inside a test, end the savepoint that stands for the transaction."""
        status = self.info.transaction_status
        if not self._in_test:
            super().commit()
        elif status == TransactionStatus.INERROR:
            self.send(_ROLLBACK)  # as the server does with COMMIT in a failed transaction
        elif status == TransactionStatus.INTRANS:
            self.send(_COMMIT)

    def rollback(self) -> None:
        """Roll back; inside a test, to the savepoint that stands for the transaction."""
        if not self._in_test:
            super().rollback()
        elif self.pgconn.exec_(_ROLLBACK).status == ExecStatus.FATAL_ERROR:
            # The outer transaction is gone, by SQL or with the server: end_test will tell.
            super().rollback()
        elif self._prepared.clear():
            # As psycopg does after each rollback: what was prepared for may not be there any more.
            self.wait(self._prepared.maintain_gen(self))

    def set_autocommit(self, value: bool) -> None:
        """Switch autocommit; refused inside a test."""
        if not self._in_test:
            super().set_autocommit(value)
        elif value:
            refuse("autocommit")

    def set_isolation_level(self, value: psycopg.IsolationLevel | None) -> None:
        """Set the isolation level; inside a test, another one than the test's is refused."""
        if not self._in_test:
            super().set_isolation_level(value)
        elif value is not None:
            asked = psycopg.IsolationLevel(value).name.replace("_", " ")
            if asked != self._isolation_of_test():
                refuse(f"the isolation level {asked}")

    def set_read_only(self, value: bool | None) -> None:
        """Let transactions only read; refused inside a test."""
        if not self._in_test:
            super().set_read_only(value)
        elif value:
            refuse("read-only transactions")

    def set_deferrable(self, value: bool | None) -> None:
        """Let serializable transactions wait at their beginning; refused inside a test."""
        if not self._in_test:
            super().set_deferrable(value)
        elif value:
            refuse("deferrable transactions")

    def _isolation_of_test(self) -> str:
        result = self.pgconn.exec_(b"SHOW transaction_isolation")
        failed = result.status == ExecStatus.FATAL_ERROR
        return "" if failed else _value(result).decode().upper()

    def send(self, statements: bytes) -> PGresult:
        """Send statements past psycopg, and return the last one's result."""
        result = self.pgconn.exec_(statements)
        if result.status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result)
        return result


def pinned_engine(url: str, connect: Connect) -> Engine:
    """Return an engine whose only connection is an `OuterTransaction`."""

    def creator() -> psycopg.Connection[Any]:
        connection = connect(kind=OuterTransaction)
        connection.autocommit = False
        return connection

    return create_engine(url, creator=creator, poolclass=StaticPool)


def outer_transaction(engine: Engine) -> OuterTransaction:
    """Return the only connection of a pinned engine."""
    with engine.connect() as connection:
        return behind(connection)


def behind(connection: Connection) -> OuterTransaction:
    """Return what SQLAlchemy's connection of a pinned engine stands for."""
    found = connection.connection.dbapi_connection
    assert isinstance(found, OuterTransaction)
    return found


def _value(result: PGresult) -> bytes:
    return result.get_value(0, 0) or b""


def refuse(what: str) -> NoReturn:
    """Tell that a rolled-back test cannot have something.

    Raises:
        IsolationError: Always.
    """
    raise IsolationError(
        f"a rolled-back test cannot have {what}.",
        why="pg_session and pg_connection live in one outer transaction of the test",
        remedy=f"give it real transactions: {COMMITS}",
    )
