"""Large objects: which there are, whose they are, and what is in them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.repair.session import Connection, Row, rows

if TYPE_CHECKING:
    from collections.abc import Iterable


ALL = """
SELECT oid::int8, lomowner::pg_catalog.regrole::text, lomacl::text,
    pg_catalog.md5(pg_catalog.lo_get(oid))
FROM pg_catalog.pg_largeobject_metadata
"""


@dataclass(frozen=True)
class LargeObject:
    """A large object; its contents are compared by hash."""

    owner: str
    rights: str | None
    digest: str


def read(connection: Connection) -> dict[int, LargeObject]:
    """Return all large objects of the database by their id."""
    return described(rows(connection, ALL))


def described(found: Iterable[Row]) -> dict[int, LargeObject]:
    """Return the rows of the query for all large objects by their id."""
    return {oid: LargeObject(*description) for oid, *description in found}


def keep(connection: Connection, kept: sql.Identifier) -> dict[int, LargeObject]:
    """Copy all large objects into the new table *kept*."""
    connection.execute(
        sql.SQL(
            "CREATE TABLE {} AS SELECT oid AS id, pg_catalog.lo_get(oid) AS contents "
            "FROM pg_catalog.pg_largeobject_metadata"
        ).format(kept)
    )
    return read(connection)
