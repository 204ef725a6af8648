"""Turns commits and rollbacks of rolled-back tests into savepoints, for psycopg 3.

One connection is kept open per worker. A test's work happens between an outer BEGIN and ROLLBACK
that the test cannot reach through psycopg or SQLAlchemy; what it commits or rolls back in between
ends a savepoint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn, Protocol

import psycopg
from psycopg.pq import ExecStatus, TransactionStatus

from pytest_berth.debug_log import ignoring
from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres.advice import COMMITS
from pytest_berth.services.postgres.isolation.pooled_sessions import PAST_ROLLBACK, Driver, make_new
from pytest_berth.services.postgres.server.connections import exchange

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import sql
    from psycopg.pq.abc import PGresult
    from sqlalchemy import Engine

SAVEPOINTS = b"SAVEPOINT berth_outer; SAVEPOINT berth_commit; "
COMMIT = b"RELEASE SAVEPOINT berth_commit; SAVEPOINT berth_commit"
ROLLBACK = b"ROLLBACK TO SAVEPOINT berth_commit"
# The first statement fails when the test has ended the outer transaction behind our back.
END_OUTER = b"ROLLBACK TO SAVEPOINT berth_outer"
SETTLE = PAST_ROLLBACK + b"; "
# What the server says where the test has ended the outer transaction.
_IS_ENDED = frozenset({"25P01", "3B001"})


class Connect(Protocol):
    """Opens a connection in autocommit mode."""

    def __call__(self, *, kind: type[psycopg.Connection[Any]]) -> psycopg.Connection[Any]:
        """Return a new connection of a kind."""


class OuterTransaction(psycopg.Connection[Any]):
    """A psycopg connection that can be put into an outer transaction.

    Attributes:
        was_aborted: Whether an error has cost the running test what it had not committed.
        skips_rollback: Whether the test is over, so that all of it is rolled back in a moment.
    """

    skips_rollback = False
    _in_test = False
    _before_tests: Driver | None = None
    was_aborted = False

    def begin_test(self, query: bytes) -> bytes:
        """Open the outer transaction; return the only value of a query in it."""
        self._before_tests = self._before_tests or Driver.of(self)
        answer = _value(self.send(b"BEGIN; " + SAVEPOINTS + query))
        self._in_test, self.was_aborted, self.skips_rollback = True, False, False
        return answer

    def end_test(self, statement: bytes, query: bytes) -> bytes | None:
        """Roll the outer transaction back; return the only value of a query afterwards.

        Args:
            statement: It is sent at the end of the transaction; empty for none.
            query: It is sent when that has ended.

        Returns:
            None where the server has ended the connection, as it does when it crashes.

        Raises:
            IsolationError: The test has ended it by SQL, so its changes may have stayed.
        """
        assert self._before_tests, "begin_test() comes first"
        self._in_test = self.skips_rollback = False
        parts = filter(None, (END_OUTER, statement, b"ROLLBACK", SETTLE + query))
        try:
            result = exchange(self, b"; ".join(parts))
            if result.status == ExecStatus.FATAL_ERROR:
                exchange(self, b"ROLLBACK")
        except psycopg.OperationalError:
            self.close()
        if self.closed:
            return None
        if result.status == ExecStatus.FATAL_ERROR:
            make_new(self, self._before_tests)
            error = psycopg.errors.error_from_result(result)
            if error.sqlstate and error.sqlstate not in _IS_ENDED:
                raise error
            refuse_ended()
        self._before_tests.put_back(self)
        return _value(result)

    def commit(self) -> None:
        """Commit; inside a test, end the savepoint that stands for the transaction."""
        status = self.info.transaction_status
        if not self._in_test:
            super().commit()
        elif status == TransactionStatus.INERROR:
            self.was_aborted = True
            self.send(ROLLBACK)  # as the server does with COMMIT in a failed transaction
        elif status == TransactionStatus.INTRANS:
            self.send(COMMIT)

    def rollback(self) -> None:
        """Roll back; inside a test, to the savepoint that stands for the transaction."""
        if not self._in_test:
            super().rollback()
            return
        self.was_aborted |= self.is_aborted()
        if self.skips_rollback:
            return
        if not self._has_rolled_back():
            # The outer transaction is gone, by SQL or with the server: end_test will tell.
            super().rollback()
        elif self._prepared.clear():
            # As psycopg does after each rollback: what was prepared for may not be there any more.
            self.wait(self._prepared.maintain_gen(self))

    def _has_rolled_back(self) -> bool:
        with ignoring(psycopg.OperationalError, why="the connection is lost"):
            return exchange(self, ROLLBACK).status != ExecStatus.FATAL_ERROR
        return False

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
        result = exchange(self, b"SHOW transaction_isolation")
        failed = result.status == ExecStatus.FATAL_ERROR
        return "" if failed else _value(result).decode().upper()

    def is_aborted(self) -> bool:
        """Tell whether an error has aborted the test's transaction."""
        return self.info.transaction_status == TransactionStatus.INERROR

    def is_in_transaction(self) -> bool:
        """Tell whether there is a transaction in which statements can be sent."""
        return self.info.transaction_status == TransactionStatus.INTRANS

    def run(self, statements: bytes) -> None:
        """Send statements past psycopg."""
        self.send(statements)

    def copy_out(self, statement: sql.Composed) -> Iterator[bytes]:
        """Yield what COPY TO gives."""
        with self.cursor().copy(statement) as copy:
            for part in copy:
                yield bytes(part)

    def fetch(self, query: str | sql.Composed) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self.execute(query).fetchall()

    def send(self, statements: bytes) -> PGresult:
        """Send statements past psycopg, and return the last one's result."""
        result = exchange(self, statements)
        if result.status == ExecStatus.FATAL_ERROR:
            raise psycopg.errors.error_from_result(result)
        return result


def pinned_engine(url: str, connect: Connect) -> Engine:
    """Return an engine whose only connection is an `OuterTransaction`."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    def creator() -> psycopg.Connection[Any]:
        connection = connect(kind=OuterTransaction)
        connection.autocommit = False
        return connection

    return create_engine(url, creator=creator, poolclass=StaticPool)


def _value(result: PGresult) -> bytes:
    return result.get_value(0, 0) or b""


def refuse_ended() -> NoReturn:
    """Tell that a test has got out of its outer transaction.

    Raises:
        IsolationError: Always.
    """
    raise IsolationError(
        "the test ended the transaction that it was to be rolled back with.",
        why="it sent COMMIT, ROLLBACK or BEGIN as SQL text on a rolled-back connection",
        remedy=f"give it real transactions: {COMMITS}",
    )


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
