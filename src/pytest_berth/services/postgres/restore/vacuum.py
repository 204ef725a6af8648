"""Dead rows, which slow everything down after thousands of tests, are removed now and then."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pytest_berth.services.postgres.restore.transactions import Connection, results

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_berth.services.postgres.restore.baseline import Baseline
    from pytest_berth.services.postgres.restore.catalog import Relation

# Bytes that a table may grow before it is vacuumed: some thousand narrow rows.
GROWTH = 32 * 8192


def remove(
    connection: Connection,
    baseline: Baseline,
    touched: Sequence[Relation],
    sizes: Mapping[int, int],
) -> Baseline:
    """Vacuum those of the tables that have grown.

    The size afterwards counts from now on: an older transaction may need the dead rows, and
    then vacuuming again at once would not help either.
    """
    grown = [t for t in touched if sizes[t.oid] - baseline.sizes.get(t.oid, 0) > GROWTH]
    if not grown:
        return baseline
    names = sql.SQL(", ").join(table.identifier for table in grown)
    statement = sql.SQL("VACUUM (SKIP_LOCKED, INDEX_CLEANUP ON) {}").format(names)
    try:
        connection.execute(statement, prepare=False)
    except (psycopg.errors.LockNotAvailable, psycopg.errors.QueryCanceled):
        return baseline
    oids = ",".join(str(table.oid) for table in grown)
    (left,) = results(connection, [baseline.prepared.run("sizes", f"'{{{oids}}}'")])
    return replace(baseline, sizes={**baseline.sizes, **dict(left)})
