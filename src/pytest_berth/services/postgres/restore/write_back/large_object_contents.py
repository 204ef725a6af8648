"""Puts large objects back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.restore import large_objects
from pytest_berth.services.postgres.restore.errors import SchemaChanged
from pytest_berth.services.postgres.restore.transactions import rows

if TYPE_CHECKING:
    from pytest_berth.services.postgres.restore.baseline import Baseline
    from pytest_berth.services.postgres.restore.changed_rows import Difference
    from pytest_berth.services.postgres.restore.transactions import Connection


def put_back(connection: Connection, baseline: Baseline, difference: Difference) -> None:
    """Remove the large objects that are new, and give the others the contents that they had."""
    if difference.added_objects:
        rows(
            connection,
            "SELECT pg_catalog.lo_unlink(oid) FROM unnest(%s::oid[]) AS added (oid)",
            list(difference.added_objects),
        )
    put_back_one = _put_pages_back if large_objects.by_pages(connection) else _put_contents_back
    for oid in difference.altered_objects:
        put_back_one(connection, baseline, oid)
    if difference.altered_objects:
        found = large_objects.read(connection)
        altered = [oid for oid, each in baseline.large_objects.items() if found.get(oid) != each]
        if altered:
            # Whose they are, who may use them, what is said of them.
            raise SchemaChanged([f"large object {oid} was altered" for oid in altered])


def _put_pages_back(connection: Connection, baseline: Baseline, oid: int) -> None:
    there = "SELECT FROM pg_catalog.pg_largeobject_metadata WHERE oid = %s"
    if not rows(connection, there, oid):
        rows(connection, "SELECT pg_catalog.lo_create(%s)", oid)
    connection.execute("DELETE FROM pg_catalog.pg_largeobject WHERE loid = %s", [oid])
    put = sql.SQL(
        "INSERT INTO pg_catalog.pg_largeobject (loid, pageno, data)"
        " SELECT id, pageno, data FROM {} WHERE id = %s AND pageno IS NOT NULL"
    )
    connection.execute(put.format(baseline.object_copies), [oid])


def _put_contents_back(connection: Connection, baseline: Baseline, oid: int) -> None:
    exists = rows(
        connection,
        "SELECT pg_catalog.lo_truncate64(pg_catalog.lo_open(oid, 131072), 0) "
        "FROM pg_catalog.pg_largeobject_metadata WHERE oid = %s",
        oid,
    )
    put = sql.SQL("lo_put(id, 0, contents)" if exists else "lo_from_bytea(id, contents)")
    query = sql.SQL("SELECT pg_catalog.{} FROM {} WHERE id = %s")
    rows(connection, query.format(put, baseline.object_copies), oid)
