"""The rows of materialized views."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pytest_berth.services.postgres.advice import PRIVATE
from pytest_berth.services.postgres.restore import open_transactions
from pytest_berth.services.postgres.restore.errors import NotRepairable
from pytest_berth.services.postgres.restore.transactions import row
from pytest_berth.services.postgres.restore.write_back.change_relations import run
from pytest_berth.services.postgres.restore.write_back.rows import Rows

if TYPE_CHECKING:
    from pytest_berth.services.postgres.restore.baseline import Baseline
    from pytest_berth.services.postgres.restore.catalog import Relation
    from pytest_berth.services.postgres.restore.transactions import Connection


@dataclass(frozen=True)
class Views:
    """Puts materialized views back, within the current transaction."""

    connection: Connection
    baseline: Baseline

    def put_back(self, view: Relation) -> None:
        """Give a view the rows that it had, or none where it was not populated."""
        kept, replica = view.oid in self.baseline.copies, self.baseline.replica
        run(
            self.connection,
            sql.SQL("REFRESH MATERIALIZED VIEW {} {}").format(
                view.identifier, sql.SQL("WITH DATA" if kept and not replica else "WITH NO DATA")
            ),
            [view],
            open_transactions.BLOCK_EXCLUSIVE,
        )
        if kept and replica:
            self._fill(view)
        elif kept:
            self._check(view)

    def _fill(self, view: Relation) -> None:
        """Give a view the very rows it had, which a refresh need not: it may have been stale.

        PostgreSQL inserts into a relation of kind ``m`` only during REFRESH. A superuser may
        make it an ordinary table for a moment, which no one else sees: the transaction holds
        its exclusive lock.
        """
        change = "UPDATE pg_catalog.pg_class SET relkind = %s, relispopulated = true WHERE oid = %s"
        try:
            self.connection.execute(change, ("r", view.oid))
        except psycopg.errors.InsufficientPrivilege as error:
            raise _stale(view) from error
        Rows(self.connection, self.baseline).copy_in(view)
        self.connection.execute(change, ("m", view.oid))

    def _check(self, view: Relation) -> None:
        digest = sql.SQL(
            "(SELECT ROW(count(*), sum(pg_catalog.hashtextextended(ROW({})::text, 0))) FROM {})"
        )
        copy = self.baseline.copies[view.oid].copy
        query = sql.SQL("SELECT {} = {}").format(
            digest.format(view.column_list, view.identifier),
            digest.format(view.column_list, copy),
        )
        if not row(self.connection, query)[0]:
            raise _stale(view)


def _stale(view: Relation) -> NotRepairable:
    return NotRepairable(
        f"The materialized view {view} cannot be put back.",
        why="a refresh yields other rows than the baseline had, and the role is not superuser",
        remedy=f"REFRESH MATERIALIZED VIEW {view} in the seeds, so that it is not stale,"
        f" or give the test a private database: {PRIVATE}",
    )
