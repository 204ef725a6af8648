"""Asks a server for a report: briefly, without changing anything, and never for ever.

Answers are texts, past whatever the application has told its driver of types and rows. A statement
has a timeout of the server's; a server that has come to a stand gets its connection hung up.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, closing, contextmanager
from threading import Timer
from typing import TYPE_CHECKING, Any, Protocol

import psycopg
from psycopg.pq import ExecStatus, PipelineStatus, TransactionStatus

from pytest_berth.debug_log import ignoring
from pytest_berth.services.postgres.server import connections
from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from psycopg import sql

    from pytest_berth.api import Server
    from pytest_berth.services.postgres.isolation.rollback import Outer

Row = tuple[str | None, ...]
# Seconds: for an answer, beyond what the server itself allows; for all answers; to connect.
_WITHIN = 6.0
_ALL_WITHIN = 5.0
_CONNECTS_WITHIN = 2
_SETTINGS = (
    "SET LOCAL statement_timeout = 2000; SET LOCAL lock_timeout = 300;"
    " SET LOCAL SESSION AUTHORIZATION DEFAULT; SET LOCAL search_path = pg_catalog;"
    " SET LOCAL \"TimeZone\" = 'UTC'; SET LOCAL \"DateStyle\" = 'ISO';"
    " SET LOCAL bytea_output = 'hex'; SET LOCAL \"IntervalStyle\" = 'postgres'"
)
_SAVEPOINT = "SAVEPOINT berth_report"
_BACK = "ROLLBACK TO SAVEPOINT berth_report"
_RELEASE = "RELEASE SAVEPOINT berth_report"
_ABORTED = (
    "the error has aborted the test's transaction: what it wrote before cannot be read any more"
)


class NoAnswerError(Exception):
    """A question has no answer; the text says why.

    Attributes:
        state: The SQLSTATE, if the server has refused it.
    """

    def __init__(self, why: str, state: str = "") -> None:
        super().__init__(why)
        self.state = state


class Asking(Protocol):
    """Sends a query, and returns its rows as texts."""

    def __call__(self, query: str | sql.Composable) -> list[Row]:
        """Return the rows.

        Raises:
            NoAnswerError: The server refuses the query, or does not answer in time.
        """


class Sender(Protocol):
    """Sends a statement on a connection, of whichever driver."""

    def send(self, statement: str) -> list[Row]:
        """Return the rows of a statement, as texts; errors are `NoAnswerError`."""


class Watched:
    """Sends by another one, and hangs up where no answer comes."""

    def __init__(self, sender: Sender, socket_number: int) -> None:
        self._sender = sender
        self._socket = socket_number

    def send(self, statement: str) -> list[Row]:
        """Return the rows of a statement."""
        try:
            with hung_up_late(self._socket):
                return self._sender.send(statement)
        except OSError as error:
            raise NoAnswerError("the connection is lost") from error


class ByPsycopg:
    """Sends past psycopg: adapters, row factories and prepared statements are the test's."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def send(self, statement: str) -> list[Row]:
        """Return the rows of a statement."""
        encoding, pgconn = self._connection.info.encoding, self._connection.pgconn
        try:
            result = pgconn.exec_(statement.encode(encoding))
        except psycopg.OperationalError as error:
            raise NoAnswerError(str(error).strip()) from error
        if result.status == ExecStatus.FATAL_ERROR:
            refused = psycopg.errors.error_from_result(result, encoding=encoding)
            # Where a connection is lost, it is not the server that says so.
            message = refused.diag.message_primary or _first_line(refused)
            raise NoAnswerError(message, refused.sqlstate or "")
        columns = range(result.nfields)
        return [
            tuple(_decoded(result.get_value(number, each), encoding) for each in columns)
            for number in range(result.ntuples)
        ]


class ByPsycopg2:
    """Sends by psycopg2, which SQLAlchemy 1.4 works with."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def send(self, statement: str) -> list[Row]:
        """Return the rows of a statement."""
        import psycopg2.extensions

        try:
            with self._connection.cursor(cursor_factory=psycopg2.extensions.cursor) as cursor:
                cursor.execute(statement)
                found = cursor.fetchall() if cursor.description else []
        except psycopg2.Error as error:
            message = getattr(error.diag, "message_primary", None) or str(error).strip()
            raise NoAnswerError(message, error.pgcode or "") from error
        return [tuple(None if each is None else str(each) for each in row) for row in found]


@contextmanager
def connected(server: Server, database: str) -> Iterator[psycopg.Connection[Any]]:
    """Yield a new connection, which sees what is committed.

    Raises:
        NoAnswerError: The server does not answer.
    """
    try:
        opened = connections.connect_at_once(
            server,
            database,
            connect_timeout=_CONNECTS_WITHIN,
            application_name=connections.APPLICATION,
        )
    except psycopg.OperationalError as error:
        raise NoAnswerError(f"the server does not answer: {_first_line(error)}") from error
    with closing(opened):
        yield opened


@contextmanager
def beside(server: Server, database: str) -> Iterator[Asking]:
    """Yield what asks on a new connection.

    Raises:
        NoAnswerError: The server does not answer.
    """
    with connected(server, database) as connection, on(connection) as asking:
        yield asking


@contextmanager
def on(connection: psycopg.Connection[Any]) -> Iterator[Asking]:
    """Yield what asks on a connection of berth's, in a transaction that only reads."""
    sender = Watched(ByPsycopg(connection), connection.fileno())
    sender.send("BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY")
    try:
        with _between_savepoints(sender) as asking:
            yield asking
    finally:
        with ignoring(NoAnswerError, why="a connection is lost"):
            sender.send("ROLLBACK")


@contextmanager
def in_test(outer: Outer) -> Iterator[Asking]:
    """Yield what asks inside a rolled-back test's transaction, which stays as it is.

    Raises:
        NoAnswerError: The transaction is aborted, or in use, or over.
    """
    with ExitStack() as stack:
        if isinstance(outer, psycopg.Connection):
            sender: Sender = ByPsycopg(outer)
            status = int(outer.pgconn.transaction_status)
            _require_open(status)
            if outer.pgconn.pipeline_status != PipelineStatus.OFF:
                raise NoAnswerError("the test's connection is in pipeline mode")
            stack.enter_context(outer.lock)
        else:
            sender = ByPsycopg2(outer)
            _require_open(0 if outer.closed else int(outer.info.transaction_status), outer.closed)
        watched = Watched(sender, outer.fileno())
        yield stack.enter_context(_between_savepoints(watched))


def _require_open(status: int, closed: int = 0) -> None:
    if closed or status == TransactionStatus.UNKNOWN:
        raise NoAnswerError("the test's connection is lost")
    if status == TransactionStatus.INERROR:
        raise NoAnswerError(_ABORTED)
    if status == TransactionStatus.ACTIVE:
        raise NoAnswerError("the test's connection is still waiting for an answer")
    if status == TransactionStatus.IDLE:
        raise NoAnswerError("the test has ended its transaction by SQL")


@contextmanager
def _between_savepoints(sender: Sender) -> Iterator[Asking]:
    """Yield what asks after a savepoint, to which all goes back: settings, and what fails."""
    sender.send(_SAVEPOINT)
    deadline = now() + _ALL_WITHIN

    def asking(query: str | sql.Composable) -> list[Row]:
        if now() > deadline:
            raise NoAnswerError(f"left out after {_ALL_WITHIN:g} s")
        try:
            return sender.send(query if isinstance(query, str) else query.as_string(None))
        except NoAnswerError as error:
            if error.state:
                sender.send(_BACK)
                sender.send(_SETTINGS)
            raise

    try:
        sender.send(_SETTINGS)
        yield asking
    finally:
        with ignoring(NoAnswerError, why="the test's connection is lost"):
            sender.send(_BACK)
            sender.send(_RELEASE)


@contextmanager
def hung_up_late(socket_number: int) -> Iterator[None]:
    """Hang up a connection on which the server does not even say that it was too late."""
    own = socket.socket(fileno=os.dup(socket_number))
    timer = Timer(_WITHIN, _hang_up, [own])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        own.close()


def _hang_up(connected: socket.socket) -> None:
    with ignoring(OSError, why="the connection is closed"):
        connected.shutdown(socket.SHUT_RDWR)


def _decoded(value: bytes | None, encoding: str) -> str | None:
    return None if value is None else value.decode(encoding, "replace")


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
