"""Transactions and queries on the plugin's own connection."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from pytest_berth.errors import IsolationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Connection = psycopg.Connection[Any]
Row = tuple[Any, ...]
Query = sql.SQL | sql.Composed | str

BATCH = 100


@contextmanager
def transaction(
    connection: Connection, *, lock_timeout: float, replica: bool, isolation: str = "READ COMMITTED"
) -> Iterator[None]:
    """Run a block in one transaction, independent of the database's and role's settings.

    Under ``session_replication_role = replica`` triggers and foreign keys do not fire.
    ``row_security = off`` turns rows hidden by a policy into an error, never into a miss.
    """
    milliseconds = max(1, round(lock_timeout * 1000))
    settings = [
        f"SET TRANSACTION ISOLATION LEVEL {isolation}, READ WRITE",
        f"SET LOCAL lock_timeout = {milliseconds}",
        "SET LOCAL statement_timeout = 0",
        "SET LOCAL idle_in_transaction_session_timeout = 0",
        "SET LOCAL row_security = off",
        *(["SET LOCAL session_replication_role = replica"] if replica else []),
    ]
    with refusals_named(), connection.transaction():
        connection.execute(sql.SQL("; ".join(settings)))
        yield


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
            "row-level security, has BYPASSRLS; or isolation = rollback",
        ) from error


def may_be_replica(connection: Connection) -> bool:
    """Tell whether the role may switch triggers and foreign keys off."""
    try:
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")
    except psycopg.errors.InsufficientPrivilege:
        return False
    return True


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


def own_xid(connection: Connection) -> int | None:
    """Return the id of the current transaction, if it has written."""
    xid = row(connection, "SELECT pg_catalog.pg_current_xact_id_if_assigned()::text")[0]
    return int(xid) if xid else None


def union_all(parts: Sequence[sql.Composable]) -> sql.Composed:
    """Join queries into one."""
    return sql.SQL(" UNION ALL ").join(parts)
