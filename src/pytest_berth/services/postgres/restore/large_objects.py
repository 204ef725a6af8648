"""Reads large objects: which there are, whose they are, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.restore.transactions import Connection, Row, row, rows

if TYPE_CHECKING:
    from collections.abc import Iterable

# No value can be longer than a gigabyte, a large object can.
_LENGTH = 1 << 28
_BY_CONTENTS = f"pg_catalog.md5(pg_catalog.lo_get(oid, 0, {_LENGTH}))"
# Pages that were never written take no place: so one at the end of terabytes costs nothing.
_BY_PAGES = """(
    SELECT pg_catalog.md5(pg_catalog.string_agg(
        p.pageno || ' ' || pg_catalog.md5(p.data), ',' ORDER BY p.pageno
    )) FROM pg_catalog.pg_largeobject p WHERE p.loid = m.oid
)"""
_ALL = """
SELECT oid::int8, lomowner::pg_catalog.regrole::text, lomacl::text,
    pg_catalog.obj_description(oid, 'pg_largeobject'), {digest}
FROM pg_catalog.pg_largeobject_metadata m
"""
_KEEP_PAGES = """
CREATE TABLE {kept} AS SELECT m.oid AS id, p.pageno, p.data
FROM pg_catalog.pg_largeobject_metadata m
LEFT JOIN pg_catalog.pg_largeobject p ON p.loid = m.oid
"""
_KEEP_CONTENTS = f"""
CREATE TABLE {{kept}} AS SELECT oid AS id, pg_catalog.lo_get(oid, 0, {_LENGTH}) AS contents
FROM pg_catalog.pg_largeobject_metadata
"""
_PAGES_VISIBLE = (
    "SELECT pg_catalog.has_table_privilege('pg_catalog.pg_largeobject', 'SELECT, DELETE')"
)


@dataclass(frozen=True)
class LargeObject:
    """A large object; its contents are compared by hash."""

    owner: str
    rights: str | None
    comment: str | None
    digest: str


def by_pages(connection: Connection) -> bool:
    """Tell whether the role may read and write the pages themselves, as a superuser may."""
    return bool(row(connection, _PAGES_VISIBLE)[0])


def query(connection: Connection) -> sql.Composed:
    """Return the query for all large objects of the database."""
    digest = _BY_PAGES if by_pages(connection) else _BY_CONTENTS
    return sql.SQL(_ALL).format(digest=sql.SQL(digest))


def read(connection: Connection) -> dict[int, LargeObject]:
    """Return all large objects of the database by their id."""
    return described(rows(connection, query(connection)))


def described(found: Iterable[Row]) -> dict[int, LargeObject]:
    """Return the rows of the query for all large objects by their id."""
    return {oid: LargeObject(*description) for oid, *description in found}


def keep(connection: Connection, kept: sql.Identifier) -> dict[int, LargeObject]:
    """Copy all large objects into the new table *kept*."""
    statement = _KEEP_PAGES if by_pages(connection) else _KEEP_CONTENTS
    connection.execute(sql.SQL(statement).format(kept=kept))
    return read(connection)
