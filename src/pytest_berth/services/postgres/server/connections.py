"""Opens berth's own connections: each proves that it has reached the server it is meant for.

A server that berth starts is given a random token as a setting, which it tells on every connection.
User, password and port are no proof: a server with ``trust`` takes any password, and another one
may have come to the port of one that has ended. What is external is told by its URL alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pytest_berth.debug_log import debug, ignoring
from pytest_berth.errors import NotOursError
from pytest_berth.services.postgres import libpq_environment, urls
from pytest_berth.waiting import now, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    import psycopg
    from psycopg.pq.abc import PGresult

    from pytest_berth.api import Server

TOKEN = "pytest_berth.server"
# The name of connections that others may meet in ``pg_stat_activity``.
APPLICATION = "pytest-berth"
EXTERNAL = "external"
# What a test may have set for all sessions, by ALTER SYSTEM for one, is not for those that put it
# back: a session's own parameters go before it.
_TAKES_NO_PART = "-c default_transaction_read_only=off -c statement_timeout=0"
# A busy server may take long to answer; one that is stopped, or paused, never does.
_CONNECT_WITHIN = 30
# Of a connection that failed, libpq tells no SQLSTATE: "is in recovery mode", "is starting up".
_RECOVERING = "the database system is"
_RECOVERS_WITHIN = 30.0
# So it says, too, before the postmaster has noticed that one of its processes was killed.
CLOSED = "server closed the connection unexpectedly"
_NOTICES_WITHIN = 1.0
_ASK = "SELECT pg_catalog.current_setting(%s, true)"
ASK_TOKEN = f"SELECT pg_catalog.current_setting('{TOKEN}', true)"


def connect(
    server: Server,
    database: str,
    *,
    kind: type[psycopg.Connection[Any]] | None = None,
    **parameters: Any,
) -> psycopg.Connection[Any]:
    """Connect to a database of a server, in autocommit mode.

    A server that recovers is waited for: any test of any worker may have killed one of its
    processes a moment ago.

    Args:
        server: The server, external or started by berth.
        database: The database's name.
        kind: A class of connections that tests work on, whose sessions are as the server is set to
            have them; None for psycopg's own, which berth keeps to itself.
        parameters: Further ones of libpq.

    Raises:
        NotOursError: Another server has taken the place of the one that berth has started.
        psycopg.OperationalError: There is no connection.
    """
    import psycopg

    noticed = now() + _NOTICES_WITHIN

    def try_once() -> psycopg.Connection[Any] | None:
        try:
            return connect_at_once(server, database, kind=kind, **parameters)
        except psycopg.OperationalError as error:
            if _RECOVERING in str(error) or (CLOSED in str(error) and now() < noticed):
                return None
            raise

    with ignoring(TimeoutError, why="the last attempt tells why"):
        if opened := wait_for(try_once, _RECOVERS_WITHIN):
            return opened
    return connect_at_once(server, database, kind=kind, **parameters)


def connect_at_once(
    server: Server,
    database: str,
    *,
    kind: type[psycopg.Connection[Any]] | None = None,
    **parameters: Any,
) -> psycopg.Connection[Any]:
    """Connect as `connect` does, or fail where the server starts up or recovers."""
    import psycopg

    given: dict[str, Any] = {"connect_timeout": _CONNECT_WITHIN}
    if server.source != EXTERNAL:
        given |= libpq_environment.own_parameters(server.host)
        libpq_environment.forget_session_variables(os.environ)
        if kind is None:
            given["options"] = _TAKES_NO_PART
    dsn = psycopg.conninfo.make_conninfo(urls.dsn(server, database), **given | parameters)
    connection = (kind or psycopg.Connection).connect(dsn, autocommit=True)
    return _proven(connection, server)


def named(server: Server, database: str) -> psycopg.Connection[Any]:
    """Connect as `connect` does, under the name that others see in ``pg_stat_activity``."""
    return connect(server, database, application_name=APPLICATION)


def administrative(
    connect: Callable[..., psycopg.Connection[Any]], server: Server, **parameters: Any
) -> psycopg.Connection[Any]:
    """Connect to the administrator's database, for one step of a start after the other.

    Args:
        connect: One of the functions above, which says how long is waited.
        server: The server.
        parameters: Further ones of libpq.
    """
    database = server.credentials.database
    connection = connect(server, database, application_name=APPLICATION, **parameters)
    # What a step prepares is there for later ones: psycopg would forget it with its own prepared
    # statements, after each DROP.
    connection.prepare_threshold = None
    return connection


def beside(connection: psycopg.Connection[Any], database: str) -> psycopg.Connection[Any]:
    """Connect to another database of the server that a connection has reached.

    Raises:
        NotOursError: Another server has taken its place meanwhile.
    """
    import psycopg

    info = connection.info
    dsn = psycopg.conninfo.make_conninfo(info.dsn, dbname=database, password=info.password)
    other = psycopg.connect(dsn, autocommit=True)
    if _token(other) != _token(connection):
        other.close()
        raise _not_ours(info.host, info.port, info.user)
    return other


def value(connection: psycopg.Connection[Any], statement: str) -> bytes | None:
    """Send one statement past psycopg, which takes a fraction of the time; return its only value.

    Returns:
        None where that is NULL, and where the statement failed: asked another way, psycopg tells
        why.
    """
    import psycopg

    try:
        result = exchange(connection, statement.encode())
    except psycopg.OperationalError as error:
        debug("postgres: %s", error)
        return None
    if result.status == psycopg.pq.ExecStatus.TUPLES_OK:
        return result.get_value(0, 0)
    debug("postgres: %s", result.error_message.decode(errors="replace"))
    return None


def exchange(connection: psycopg.Connection[Any], statements: bytes) -> PGresult:
    """Send statements past psycopg; return the last result, which may be an error's.

    Signals are heeded meanwhile, as psycopg heeds them: libpq itself waits without end for a server
    that does not answer.

    Raises:
        psycopg.OperationalError: The connection is closed, lost, or in pipeline mode.
    """
    from psycopg import generators
    from psycopg.pq import TransactionStatus

    pgconn = connection.pgconn
    if pgconn.transaction_status == TransactionStatus.ACTIVE:
        # What is left of a statement that was interrupted, or of a COPY, libpq alone passes over.
        return pgconn.exec_(statements)
    pgconn.send_query(statements)
    results: list[PGresult] = connection.wait(generators.execute(pgconn))
    return results[-1]


def _proven(connection: psycopg.Connection[Any], server: Server) -> psycopg.Connection[Any]:
    try:
        if server.source != EXTERNAL:
            require_ours(connection, server)
    except BaseException:
        connection.close()
        raise
    return connection


def require_ours(connection: psycopg.Connection[Any], server: Server) -> None:
    """Refuse a server that has let us in, and is not the one that berth has started.

    Raises:
        NotOursError: It is another one, or nothing proves that it is not.
    """
    expected = server.credentials.token
    if not expected or _token(connection) != expected:
        raise _not_ours(server.host, server.port, server.credentials.user)


def require_same(connection: psycopg.Connection[Any], token: str | None) -> None:
    """Refuse a server, reached by another driver, that is not the one that a connection leads to.

    Args:
        connection: One that has proved where it leads.
        token: What the other one has been told by `ASK_TOKEN`.

    Raises:
        NotOursError: Another server has taken its place meanwhile.
    """
    if token != _token(connection):
        raise _not_ours(connection.info.host, connection.info.port, connection.info.user)


def _token(connection: psycopg.Connection[Any]) -> str | None:
    row = connection.execute(_ASK, [TOKEN]).fetchone()
    return row[0] if row else None


def _not_ours(host: str, port: int, user: str) -> NotOursError:
    return NotOursError(
        f"the server at {host}:{port} is not berth's.",
        why=f"it lets the user {user!r} in, but it is not the server that berth has started there:"
        " nothing was done on it",
        remedy="end it, or run again: another port is chosen; where berth_pg_port fixes the port,"
        " set another one",
    )
