"""Does the same for psycopg2, as SQLAlchemy 1.4 does not know psycopg 3."""

from __future__ import annotations

import io
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import psycopg2
from psycopg2.extensions import (
    TRANSACTION_STATUS_INERROR,
    TRANSACTION_STATUS_INTRANS,
    connection,
)

from pytest_berth.services.postgres.isolation import rollback_connection
from pytest_berth.services.postgres.server import connections

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import sql
    from sqlalchemy import Engine

_AUTOCOMMIT = vars(connection)["autocommit"]


class OuterTransaction2(connection):
    """A psycopg2 connection that can be put into an outer transaction, which psycopg2 begins."""

    _in_test = False
    was_aborted = False
    skips_rollback = False

    def begin_test(self, query: bytes) -> bytes:
        """Open the outer transaction; return the only value of a query in it."""
        answer = self._value(rollback_connection.SAVEPOINTS + query)
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
        self._in_test = self.skips_rollback = False
        try:
            self._run(rollback_connection.END_OUTER)
        except psycopg2.Error:
            if self.closed:
                return None
            super().rollback()
            rollback_connection.refuse_ended()
        try:
            if statement:
                self._run(statement)
        finally:
            super().rollback()
        answer = self._value(rollback_connection.SETTLE + query)
        super().rollback()
        return answer

    def commit(self) -> None:
        """Commit; inside a test, end the savepoint that stands for the transaction."""
        if not self._in_test:
            super().commit()
        elif self.is_aborted():
            self.was_aborted = True
            self._run(
                rollback_connection.ROLLBACK
            )  # as the server does with COMMIT in a failed transaction
        else:
            self._run(rollback_connection.COMMIT)

    def rollback(self) -> None:
        """Roll back; inside a test, to the savepoint that stands for the transaction."""
        if not self._in_test:
            super().rollback()
            return
        self.was_aborted |= self.is_aborted()
        if self.skips_rollback:
            return
        try:
            self._run(rollback_connection.ROLLBACK)
        except psycopg2.Error:
            # The outer transaction is gone, by SQL or with the server: end_test will tell.
            super().rollback()

    @property
    def autocommit(self) -> bool:
        """Whether each statement is a transaction; switching it on is refused inside a test."""
        return bool(_AUTOCOMMIT.__get__(self))

    @autocommit.setter
    def autocommit(self, value: bool) -> None:
        if self._in_test and value:
            rollback_connection.refuse("autocommit")
        _AUTOCOMMIT.__set__(self, value)

    def set_session(self, *args: Any, **kwargs: Any) -> None:
        """Set the isolation level; refused inside a test."""
        if self._in_test:
            rollback_connection.refuse("another isolation level")
        super().set_session(*args, **kwargs)

    def set_isolation_level(self, level: int | None) -> None:
        """Set the isolation level; refused inside a test."""
        if self._in_test:
            rollback_connection.refuse("another isolation level" if level else "autocommit")
        super().set_isolation_level(level)

    def is_aborted(self) -> bool:
        """Tell whether an error has aborted the test's transaction."""
        return bool(self.info.transaction_status == TRANSACTION_STATUS_INERROR)

    def is_in_transaction(self) -> bool:
        """Tell whether there is a transaction in which statements can be sent."""
        return bool(self.info.transaction_status == TRANSACTION_STATUS_INTRANS)

    def is_lost(self) -> bool:
        """Tell whether the server has ended the connection, without asking it."""
        try:
            self.poll()
        except psycopg2.Error:
            return True
        return bool(self.closed)

    def send(self, statements: bytes) -> None:
        """Send statements outside of a test, and commit them."""
        self._run(statements)
        super().commit()

    def fetch(self, query: str | sql.Composed) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        text = query if isinstance(query, str) else query.as_string(None)
        with self.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall()

    def copy_out(self, statement: sql.Composed) -> Iterator[bytes]:
        """Yield what COPY TO gives."""
        with self.cursor() as cursor, io.BytesIO() as found:
            cursor.copy_expert(statement.as_string(None), found)
            yield found.getvalue()

    def run(self, statements: bytes) -> None:
        """Send statements, within a test."""
        self._run(statements)

    def _run(self, statements: bytes) -> None:
        with self.cursor() as cursor:
            cursor.execute(statements)

    def _value(self, statements: bytes) -> bytes:
        with self.cursor() as cursor:
            cursor.execute(statements)
            [(value,)] = cursor.fetchall()
        return str(value).encode()


def pinned_engine(url: str, connect: rollback_connection.Connect) -> Engine:
    """Return an engine whose only connection is an `OuterTransaction2`."""
    from sqlalchemy import create_engine
    from sqlalchemy.pool import StaticPool

    return create_engine(url, creator=lambda: _connected(connect), poolclass=StaticPool)


def _connected(connect: rollback_connection.Connect) -> OuterTransaction2:
    """Connect to the server that one of psycopg's connections has proved to be the right one."""
    with closing(connect(kind=psycopg.Connection)) as proven:
        info = proven.info
        dsn = psycopg.conninfo.make_conninfo(info.dsn, password=info.password)
        found: OuterTransaction2 = psycopg2.connect(dsn, connection_factory=OuterTransaction2)
        [(token,)] = found.fetch(connections.ASK_TOKEN)
        found.rollback()
        connections.require_same(proven, token)
    return found
