"""Runs transactions and queries on berth's own connection."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres.advice import PRIVATE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

Connection = psycopg.Connection[Any]
Row = tuple[Any, ...]
Query = sql.SQL | sql.Composed | str

BATCH = 100


def settle(connection: Connection) -> bool:
    """Make the connection's settings fit for restoring; tell whether it is a replica's.

    Under ``session_replication_role = replica`` triggers and foreign keys do not fire. It is
    set once: switching it throws away all plans.
    """
    # psycopg would forget our prepared statements with its own, after each DROP and ROLLBACK.
    connection.prepare_threshold = None
    # Each of several statements that are sent together has to see what has happened since.
    connection.execute("SET statement_timeout = 0")
    connection.execute(
        "SET plan_cache_mode = force_generic_plan;"
        " SET default_transaction_isolation = 'read committed';"
        " SET default_transaction_read_only = off"
    )
    try:
        connection.execute("SET session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


@contextmanager
def transaction(
    connection: Connection,
    *,
    lock_timeout: float,
    isolation: str = "READ COMMITTED",
    first: Iterable[str] = (),
) -> Iterator[list[list[Row]]]:
    """Run a block in one transaction, independent of the database's and role's settings.

    ``row_security = off`` turns rows hidden by a policy into an error, never into a miss. Yields
    the rows of the statements *first*, which are run in the round trip that begins it. The block
    may end with a COMMIT of its own.
    """
    milliseconds = max(1, round(lock_timeout * 1000))
    settings = (
        f"BEGIN ISOLATION LEVEL {isolation}, READ WRITE",
        f"SET LOCAL lock_timeout = {milliseconds}",
        "SET LOCAL idle_in_transaction_session_timeout = 0",
        "SET LOCAL row_security = off",
    )
    with refusals_named():
        try:
            yield results(connection, (*settings, *first))[len(settings) :]
        except BaseException:
            if not connection.closed:
                connection.rollback()
            raise
        connection.commit()


@contextmanager
def refusals_named() -> Iterator[None]:
    """Turn what the role may not do into an error that says which right is missing."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        raise IsolationError(
            "The role in the URL may not reset the database.",
            why=str(error.diag.message_primary),
            remedy="use a superuser, or a role that owns all tables and, where a table has "
            "row-level security, has BYPASSRLS; or isolation = rollback;\n"
            f"or, where the role has CREATEDB, give the test a private database: {PRIVATE}",
        ) from error


def rows(
    connection: Connection,
    query: sql.SQL | sql.Composed | str,
    *params: Any,
    prepare: bool | None = None,
) -> list[Row]:
    """Return all rows of *query* as tuples, whatever the connection's row factory is."""
    statement = sql.SQL(query) if isinstance(query, str) else query
    with connection.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(statement, params or None).fetchall()


def row(connection: Connection, query: Query, *params: Any) -> Row:
    """Return the first row of *query*."""
    return rows(connection, query, *params)[0]


def results(connection: Connection, statements: Iterable[str]) -> list[list[Row]]:
    """Run several statements in one round trip; return the rows of each.

    Each sees what others have committed before it began.
    """
    with connection.cursor(row_factory=tuple_row) as cursor:
        cursor.execute("; ".join(statements).encode(), prepare=False)
        found = [_rows_of(cursor)]
        while cursor.nextset():
            found.append(_rows_of(cursor))
    return found


def _rows_of(cursor: psycopg.Cursor[Row]) -> list[Row]:
    # Not by ``description``, which describes each column at length.
    return cursor.fetchall() if cursor.pgresult and cursor.pgresult.nfields else []


def current_database(connection: Connection) -> int:
    """Return the id of the database."""
    query = "SELECT oid::int8 FROM pg_catalog.pg_database WHERE datname = current_database()"
    return int(row(connection, query)[0])


def union_all(parts: Sequence[sql.Composable]) -> sql.Composed:
    """Join queries into one."""
    return sql.SQL(" UNION ALL ").join(parts)
