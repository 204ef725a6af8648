"""Whether each transaction since the position has left rows: then nothing else is looked for.

Commands that no event trigger is told of (a CREATE INDEX CONCURRENTLY that fails, CLUSTER, all of
them under ``event_triggers = off``) write to the catalogs in transactions of their own. Counting
the rows of all catalogs takes as long as the rest of a restore, and is spared where every
transaction that was committed is known by a row that it has written to a table.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.restore.transactions import row

if TYPE_CHECKING:
    from pytest_berth.services.postgres.restore.baseline import Baseline
    from pytest_berth.services.postgres.restore.diff import Difference
    from pytest_berth.services.postgres.restore.log_positions import Snapshot
    from pytest_berth.services.postgres.restore.transactions import Connection

# Asking for each of many takes longer than counting.
_MOST = 100
_UNACCOUNTED_FOR = """
SELECT EXISTS (
    SELECT FROM unnest({ended}::xid8[]) AS ended (transaction)
    WHERE pg_catalog.pg_xact_status(transaction) = 'committed'
    AND transaction::xid NOT IN ({writers})
)
"""


def all_accounted_for(
    connection: Connection, baseline: Baseline, now: Snapshot, difference: Difference
) -> bool:
    """Tell whether all transactions that were committed since the position have written rows.

    Args:
        connection: In the transaction of the restore.
        baseline: What the database should hold.
        now: The snapshot that this transaction began with.
        difference: The tables with other rows.
    """
    position = baseline.position
    ended = (position.snapshot.running | set(range(position.snapshot.xmax, now.xmax))) - now.running
    ended -= position.own
    if not ended:
        return True
    if len(ended) > _MOST or not difference.tables:
        return False
    newer = position.is_newer()
    writers = sql.SQL(" UNION ").join(
        sql.SQL("SELECT xmin FROM ONLY {} WHERE {}").format(table.identifier, newer)
        for table in difference.tables
    )
    query = sql.SQL(_UNACCOUNTED_FOR).format(
        ended=sql.Literal([str(xid) for xid in sorted(ended)]), writers=writers
    )
    return not row(connection, query)[0]
