"""A connection that stands around a rolled-back test: what it commits is a savepoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pymysql
from pymysql.constants import ER

from pytest_berth.compat import pymysql_private
from pytest_berth.errors import IsolationError, require_package
from pytest_berth.services.mysql import connections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Engine

    from pytest_berth.api import Server

_BEGINNING, _COMMITTED = "berth_beginning", "berth_committed"
# A report waits no longer for an answer.
_REPORTED_WITHIN = 1.0
COMMITS = "@pytest.mark.berth_mysql(isolation='truncation')"


class OuterTransaction(pymysql.connections.Connection):
    """PyMySQL's connection, whose commits and rollbacks within a test are savepoints."""

    is_in_test = False

    def begin_test(self) -> None:
        """Begin the transaction that is rolled back at the test's end."""
        super().rollback()
        self.query("START TRANSACTION")
        self.query(f"SAVEPOINT {_BEGINNING}")
        self.query(f"SAVEPOINT {_COMMITTED}")
        self.is_in_test = True

    def end_test(self) -> bool:
        """Roll everything back, and tell whether everything was still there to be."""
        self.is_in_test = False
        if not self.open:
            return False
        try:
            self.query(f"ROLLBACK TO SAVEPOINT {_BEGINNING}")
        except pymysql.OperationalError as error:
            if error.args[0] != ER.SP_DOES_NOT_EXIST:
                raise
            return False
        finally:
            if self.open:
                super().rollback()
        return True

    def ask(self, query: str) -> Sequence[Any]:
        """Return the rows of a query of berth's own, between those of a test."""
        with (
            pymysql_private.answers_within(self, _REPORTED_WITHIN),
            self.cursor(pymysql.cursors.Cursor) as cursor,
        ):
            cursor.execute(query)
            return cursor.fetchall()

    def commit(self) -> None:
        """Let what was written stay until the test's end."""
        if self.is_in_test:
            self.query(f"SAVEPOINT {_COMMITTED}")
        else:
            super().commit()

    def rollback(self) -> None:
        """Undo what was written since the last commit."""
        if not self.is_in_test:
            super().rollback()
            return
        try:
            self.query(f"ROLLBACK TO SAVEPOINT {_COMMITTED}")
        except pymysql.OperationalError as error:
            # DDL has committed implicitly: that is told at the test's end.
            if error.args[0] != ER.SP_DOES_NOT_EXIST:
                raise
            super().rollback()


class Rollback:
    """The rolled-back connection of a worker; it stays open from test to test.

    Args:
        server: The server.
        database: The worker's database.
        url: Its SQLAlchemy URL.
    """

    def __init__(self, server: Server, database: str, url: str) -> None:
        self._server = server
        self._database = database
        self._url = url
        self._outer: OuterTransaction | None = None
        self._engine: Engine | None = None
        self._connection: Connection | None = None

    @property
    def connection(self) -> Connection:
        """SQLAlchemy's connection, one for all that a test asks for."""
        assert self._engine, "a test has begun"
        if self._connection is None or self._connection.closed:
            self._connection = self._engine.connect()
        return self._connection

    def begin(self) -> None:
        """Begin a test."""
        if self._outer is None or not self._outer.open:
            self._open()
        assert self._outer, "it was just opened"
        self._outer.begin_test()

    def ask(self, query: str) -> Sequence[Any]:
        """Return the rows of a query, which sees what the running test has written."""
        assert self._outer, "a test has begun"
        return self._outer.ask(query)

    def end(self) -> bool:
        """Roll a test back, and tell whether all that it wrote was still there to be."""
        outer, connection, self._connection = self._outer, self._connection, None
        if outer and outer.open and connection and not connection.closed:
            connection.close()
        is_whole = outer.end_test() if outer else True
        if not is_whole:
            self.close()
        elif outer and connection:
            self._renew(outer)
        return is_whole

    def close(self) -> None:
        """Close the connection; the next test opens another one."""
        if self._engine:
            self._engine.dispose()
        if self._outer and self._outer.open:
            self._outer.close()
        self._outer = self._engine = self._connection = None

    def _renew(self, outer: OuterTransaction) -> None:
        """Make the session as new, with what the application does with each new connection."""
        assert self._engine, "the test had a connection"
        pymysql_private.reset(outer)
        self._engine.dispose(close=False)
        self._engine.connect().close()

    def _open(self) -> None:
        require_package("sqlalchemy", "mysql", needed_by="mysql_connection")
        from sqlalchemy import create_engine
        from sqlalchemy.pool import StaticPool

        self.close()
        given = connections.parameters(self._server, self._database)
        self._outer = outer = OuterTransaction(**given)
        self._engine = create_engine(self._url, creator=lambda: outer, poolclass=StaticPool)
        # SQLAlchemy asks at its first connection what the server is: not in a test's transaction.
        self._engine.connect().close()


def refuse_ended() -> IsolationError:
    """Return the error that a test has got out of the transaction that is rolled back."""
    return IsolationError(
        "the test ended the transaction that it was to be rolled back with.",
        why="it sent DDL such as CREATE TABLE or TRUNCATE, which MySQL commits at once, with all"
        " that was written before it; or COMMIT, ROLLBACK or START TRANSACTION as SQL text."
        " The database was put back all the same",
        remedy=f"give it real transactions: {COMMITS}",
    )
