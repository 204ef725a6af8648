"""Dead rows, which slow everything down after thousands of tests, are removed now and then."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pytest_berth.services.postgres.repair.session import Connection, rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.services.postgres.repair.baseline import Baseline
    from pytest_berth.services.postgres.repair.catalog import Relation

# Bytes that a table may grow before it is vacuumed: some thousand narrow rows.
GROWTH = 32 * 8192

SIZES = """
SELECT oid::int8, coalesce(pg_catalog.pg_table_size(oid), 0)
FROM pg_catalog.unnest({}::oid[]) AS touched (oid)
"""


def read_sizes(connection: Connection, tables: Sequence[Relation]) -> dict[int, int]:
    """Return the sizes of tables in bytes, with what is stored out of line."""
    query = sql.SQL(SIZES).format(sql.Literal([table.oid for table in tables]))
    return dict(rows(connection, query, prepare=False)) if tables else {}


def remove(connection: Connection, baseline: Baseline, touched: Sequence[Relation]) -> Baseline:
    """Vacuum those of the tables that have grown.

    The size afterwards counts from now on: an older transaction may need the dead rows, and
    then vacuuming again at once would not help either.
    """
    sizes = read_sizes(connection, touched)
    grown = [t for t in touched if sizes[t.oid] - baseline.sizes.get(t.oid, 0) > GROWTH]
    if not grown:
        return baseline
    names = sql.SQL(", ").join(table.identifier for table in grown)
    statement = sql.SQL("VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON) {}").format(names)
    try:
        connection.execute(statement, prepare=False)
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
        return baseline
    return replace(baseline, sizes={**baseline.sizes, **read_sizes(connection, grown)})
