"""Berth's own connections to a server, and the question whether it is the one that is meant."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import pymysql
from pymysql.constants import CLIENT, ER

from pytest_berth.errors import NotReadyError, StartError
from pytest_berth.services.mysql.options import TOKEN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_berth.api import Server

    # Sends a query, and returns its rows.
    Ask = Callable[[str], Sequence[Sequence[Any]]]

# A server that is ready answers at once; what does not may be one of another kind.
ANSWERS_WITHIN = 5.0
_LOCKED_WITHIN = 10
_SSL = "ssl_"
_REFUSED = {ER.ACCESS_DENIED_ERROR, ER.HOST_NOT_PRIVILEGED, ER.DBACCESS_DENIED_ERROR}


class Result(NamedTuple):
    """What came of a statement.

    Attributes:
        rows: The rows that it returned.
        affected: How many rows it has written, or returned.
    """

    rows: list[Any]
    affected: int


class Connection(pymysql.connections.Connection):
    """A connection that commits each statement, and may send several in one packet."""

    def send(self, statements: str, arguments: Sequence[object] | None = None) -> list[list[Any]]:
        """Send statements, and return the rows of each."""
        return [result.rows for result in self.results(statements, arguments)]

    def results(self, statements: str, arguments: Sequence[object] | None = None) -> list[Result]:
        """Send statements, and return what came of each."""
        with self.cursor() as cursor:
            cursor.execute(statements, arguments)
            found = [Result(list(cursor.fetchall()), cursor.rowcount)]
            while cursor.nextset():
                found.append(Result(list(cursor.fetchall()), cursor.rowcount))
            return found

    def mogrify(self, query: str, arguments: Sequence[object]) -> str:
        """Return a query with its arguments in it."""
        with self.cursor() as cursor:
            return str(cursor.mogrify(query, arguments))

    def rows(self, query: str, arguments: Sequence[object] | None = None) -> list[Any]:
        """Return the rows of one query."""
        return self.send(query, arguments)[0]


def parameters(server: Server, database: str | None) -> dict[str, Any]:
    """Return PyMySQL's arguments for a connection to a database."""
    tls = {name: value for name, value in server.parameters.items() if name.startswith(_SSL)}
    return {
        "host": server.host,
        "port": server.port,
        "user": server.credentials.user,
        "password": server.credentials.password,
        "database": database,
        "charset": "utf8mb4",
        "connect_timeout": ANSWERS_WITHIN,
        **tls,
        **without_tls(server),
    }


def without_tls(server: Server) -> dict[str, Any]:
    """Return PyMySQL's argument for a server of berth's, which speaks no TLS.

    PyMySQL would read the certificates of all authorities for each connection, before it asks.
    """
    return {} if server.source == "external" else {"ssl_disabled": True}


def connect(
    server: Server, database: str | None = None, answers_within: float | None = None
) -> Connection:
    """Connect to a server, and make sure that it is the one that is meant.

    Nothing is sent that writes before that is known: another one may listen at a lost one's port.

    Args:
        server: The server.
        database: The database to work in.
        answers_within: Seconds that an answer may take; None for any time.

    Raises:
        StartError: It is not the server that berth has started.
        pymysql.Error: There is no connection.
    """
    connection = Connection(
        **parameters(server, None),
        autocommit=True,
        client_flag=CLIENT.MULTI_STATEMENTS,
        read_timeout=answers_within,
    )
    try:
        _require_ours(connection, server)
        # The server's own may be a day: what waits for a lock of others has to end.
        connection.rows(f"SET lock_wait_timeout = {_LOCKED_WITHIN}")
        if database:
            connection.select_db(database)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def connected(
    server: Server, database: str | None = None, answers_within: float | None = None
) -> Iterator[Connection]:
    """Connect for as long as the context lasts; the arguments are those of `connect`."""
    connection = connect(server, database, answers_within)
    try:
        yield connection
    finally:
        if connection.open:
            connection.close()


def probe(server: Server) -> str:
    """Connect once, by TCP, and return the server's version, such as ``"8.4.3"``.

    While an image makes its databases, it runs a server that listens on a socket only: what answers
    here is the one that stays.

    Raises:
        NotReadyError: It does not answer yet.
        StartError: It refuses berth's account, or is not the server that berth has started.
    """
    try:
        with connected(server, answers_within=ANSWERS_WITHIN) as connection:
            ((version,),) = connection.rows("SELECT VERSION()")
    except (pymysql.OperationalError, pymysql.InternalError) as error:
        if error.args[0] in _REFUSED:
            raise _refused(server, str(error.args[-1])) from None
        raise NotReadyError(" ".join(str(error.args[-1]).split())) from None
    except (pymysql.Error, OSError) as error:
        raise NotReadyError(" ".join(str(error).split())) from None
    number, _, rest = str(version).partition("-")
    return f"{number} (MariaDB)" if "MariaDB" in rest else number


def quoted(name: str) -> str:
    """Return a name as it stands in a statement."""
    return f"`{name.replace('`', '``')}`"


def _require_ours(connection: Connection, server: Server) -> None:
    token = server.credentials.token
    if not token:
        return
    ((told,),) = connection.rows(f"SELECT @@{TOKEN}")
    if told != token:
        raise StartError(
            f"the server at {server.host}:{server.port} is not berth's.",
            why=f"its {TOKEN} is {told!r}: another server listens there",
            remedy="end the other server, or run again: berth then starts one at another port",
        )


def _refused(server: Server, message: str) -> StartError:
    if server.source == "external":
        return StartError(
            f"the server at {server.host}:{server.port} refuses the account of berth_mysql_url.",
            why=message,
            remedy="check user and password in berth_mysql_url",
        )
    return StartError(
        f"the server at {server.host}:{server.port} refuses berth's password.",
        why=message,
        remedy=f"check port {server.port}: another server may be listening there",
    )
