"""The contents of large objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.advice import PRIVATE
from pytest_berth.services.postgres.failures import NotRepairable
from pytest_berth.services.postgres.repair import large_objects
from pytest_berth.services.postgres.repair.session import rows

if TYPE_CHECKING:
    from pytest_berth.services.postgres.repair.baseline import Baseline
    from pytest_berth.services.postgres.repair.dirt import Dirt
    from pytest_berth.services.postgres.repair.session import Connection


def put_back(connection: Connection, baseline: Baseline, dirt: Dirt) -> None:
    """Remove the large objects that are new, and give the others the contents that they had."""
    if dirt.added_objects:
        rows(
            connection,
            "SELECT pg_catalog.lo_unlink(oid) FROM unnest(%s::oid[]) AS added (oid)",
            list(dirt.added_objects),
        )
    for oid in dirt.altered_objects:
        _put_back_one(connection, baseline, oid)
    if dirt.altered_objects and large_objects.read(connection) != baseline.large_objects:
        raise NotRepairable(
            "Large objects of the baseline cannot be put back.",
            why=f"owner or rights of {list(dirt.altered_objects)} were changed",
            remedy=f"give the test a private database: {PRIVATE}",
        )


def _put_back_one(connection: Connection, baseline: Baseline, oid: int) -> None:
    exists = rows(
        connection,
        "SELECT pg_catalog.lo_truncate64(pg_catalog.lo_open(oid, 131072), 0) "
        "FROM pg_catalog.pg_largeobject_metadata WHERE oid = %s",
        oid,
    )
    put = sql.SQL("lo_put(id, 0, contents)" if exists else "lo_from_bytea(id, contents)")
    query = sql.SQL("SELECT pg_catalog.{} FROM {} WHERE id = %s")
    rows(connection, query.format(put, baseline.kept_objects), oid)
