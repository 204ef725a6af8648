"""Puts back what a test changed: deletes new rows, inserts those of the baseline again.

First rows of tables, then materialized views and large objects, then sequences; how the database
stands is read in the same round trip that commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pytest_berth.services.postgres.advice import PRIVATE
from pytest_berth.services.postgres.restore import open_transactions
from pytest_berth.services.postgres.restore.catalog import closure
from pytest_berth.services.postgres.restore.contents import storage_of
from pytest_berth.services.postgres.restore.errors import NotRepairable
from pytest_berth.services.postgres.restore.lock_waits import run, waiting_on, writing
from pytest_berth.services.postgres.restore.prepared_statements import set_sequences
from pytest_berth.services.postgres.restore.transactions import results, row
from pytest_berth.services.postgres.restore.write_back import large_object_contents, trigger_guards

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_berth.services.postgres.restore.baseline import Baseline
    from pytest_berth.services.postgres.restore.catalog import Relation
    from pytest_berth.services.postgres.restore.changed_rows import Difference
    from pytest_berth.services.postgres.restore.contents import Storage
    from pytest_berth.services.postgres.restore.transactions import Connection


@dataclass(frozen=True)
class Finished:
    """How the database stands after a restore.

    Attributes:
        moved: Sequences that had given away values.
        sizes: Bytes of the tables that were touched, with what is stored out of line.
        xid: The restore's transaction, if it has written.
    """

    moved: tuple[Relation, ...]
    storage: Mapping[int, Storage]
    sizes: Mapping[int, int]
    xid: int | None


def put_back(connection: Connection, baseline: Baseline, difference: Difference) -> Finished:
    """Put everything back that is in *difference*, and all sequences, and commit."""
    rows = Rows(connection, baseline)
    touched = rows.touched(difference)
    if difference.is_grown_only and baseline.replica and not any(table.guards for table in touched):
        deletions = [each.as_string(connection) for each in rows.deletions(difference)]
        return _finish(connection, baseline, difference, deletions)
    with trigger_guards.off(connection, baseline, touched):
        rows.put_back(difference)
    for view in difference.views:
        Views(connection, baseline).put_back(view)
    large_object_contents.put_back(connection, baseline, difference)
    return _finish(connection, baseline, difference)


def _finish(
    connection: Connection, baseline: Baseline, difference: Difference, before: Sequence[str] = ()
) -> Finished:
    """Set all sequences back, read how the database stands, and commit, in one round trip."""
    run, sequences = baseline.prepared.run, baseline.relations.sequences
    oids = ",".join(str(table.oid) for table in difference.tables)
    put = _put_sequences(connection, baseline) if baseline.used else run("sequences")
    last = [put, run("storage"), run("sizes", f"'{{{oids}}}'"), run("xid"), "COMMIT"]
    locked = (*difference.tables, *sequences)
    with writing(difference.tables), waiting_on(locked, open_transactions.BLOCK_WRITING):
        found = results(connection, [*before, *last])
    moved, storage, sizes, ((xid,),), _ = found[-len(last) :]
    oids_moved = {oid for (oid,) in moved}
    return Finished(
        tuple(sequence for sequence in sequences if sequence.oid in oids_moved),
        storage_of(storage),
        dict(sizes),
        int(xid) if xid else None,
    )


def _put_sequences(connection: Connection, baseline: Baseline) -> str:
    """Return the statement that sets all sequences back but those that are in use."""
    stood = {oid: value for oid, value in baseline.sequences.items() if oid not in baseline.used}
    return set_sequences(stood).as_string(connection)


@dataclass(frozen=True)
class Rows:
    """Puts rows back, within the current transaction."""

    connection: Connection
    baseline: Baseline

    def touched(self, difference: Difference) -> list[Relation]:
        """Return the tables that putting *difference* back writes to."""
        altered = difference.altered
        if not self.baseline.replica:
            altered = tuple(closure(self.baseline.relations, difference.altered))
        return list({table.oid: table for table in (*difference.grown, *altered)}.values())

    def put_back(self, difference: Difference) -> None:
        """Put all rows back; guards are off."""
        if self.baseline.replica:
            deletions = self.deletions(difference)
            if deletions:
                run(self.connection, sql.SQL("; ").join(deletions), difference.tables)
            self._insert_each(difference.altered)
        else:
            self._put_back_with_foreign_keys(difference)

    def deletions(self, difference: Difference) -> list[sql.Composed]:
        """Return the statements that delete what is new, and all rows of altered tables."""
        return [
            *(self._delete_from(table, all_rows=False) for table in difference.grown),
            *(self._delete_from(table, all_rows=True) for table in difference.altered),
        ]

    def copy_in(self, table: Relation) -> None:
        """Put the kept rows into a file that this transaction has begun, one behind the other.

        INSERT goes back to any page where a narrow row fits; COPY into a new file does not.
        """
        if not table.columns:
            self._insert(table)
            return
        kept = self.baseline.copies[table.oid].copy
        select = sql.SQL("SELECT {} FROM {} ORDER BY ctid").format(table.column_list, kept)
        into = sql.SQL("COPY {} ({}) FROM STDIN").format(table.identifier, table.column_list)
        cursor = self.connection.cursor()
        with cursor.copy(sql.SQL("COPY ({}) TO STDOUT").format(select)) as source:
            parts = list(source)
        with writing([table]), cursor.copy(into) as target:
            for part in parts:
                target.write(part)

    def _delete_from(self, table: Relation, *, all_rows: bool) -> sql.Composed:
        statement = sql.SQL("DELETE FROM ONLY {}").format(table.identifier)
        if all_rows or table.oid not in self.baseline.copies:
            return statement
        return sql.SQL("{} WHERE {}").format(statement, self.baseline.position.is_newer())

    def _insert_each(self, tables: Sequence[Relation]) -> None:
        unordered = [table for table in tables if not self._insert(table)]
        if unordered:
            self._truncate_and_insert(unordered)

    def _insert(self, table: Relation) -> bool:
        """Insert the kept rows; tell whether they lie in the order of the baseline."""
        statement = sql.SQL(
            "WITH put AS ({} RETURNING ctid AS place) "
            "SELECT coalesce(bool_and(place > before), true) "
            "FROM (SELECT place, lag(place) OVER () AS before FROM put) placed"
        ).format(self._insert_into(table))
        with writing([table]):
            (ordered,) = row(self.connection, statement)
        return bool(ordered)

    def _insert_into(self, table: Relation) -> sql.Composed:
        names = sql.SQL("({})").format(table.column_list) if table.columns else sql.SQL("")
        return sql.SQL(
            "INSERT INTO {} {} OVERRIDING SYSTEM VALUE SELECT {} FROM {} ORDER BY ctid"
        ).format(table.identifier, names, table.column_list, self.baseline.copies[table.oid].copy)

    def _truncate(self, tables: Sequence[Relation]) -> None:
        if tables:
            names = [
                sql.SQL("{}{}").format(
                    sql.SQL("" if table.kind == "p" else "ONLY "), table.identifier
                )
                for table in tables
            ]
            statement = sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(names))
            run(self.connection, statement, tables, open_transactions.BLOCK_EXCLUSIVE)

    def _truncate_and_insert(self, tables: Sequence[Relation]) -> None:
        everything = closure(self.baseline.relations, tables)
        with trigger_guards.off(self.connection, self.baseline, everything):
            self._truncate(everything)
            for table in everything:
                if table.oid in self.baseline.copies:
                    self.copy_in(table)

    def _put_back_with_foreign_keys(self, difference: Difference) -> None:
        """Put tables back while foreign keys fire, which check at the end of a statement.

        So all deletions are one statement and all insertions another: cycles need no order.
        """
        rewritten = closure(self.baseline.relations, difference.altered)
        self._truncate(rewritten)
        grown = [table for table in difference.grown if table not in rewritten]
        self._at_once(grown, [self._delete_from(table, all_rows=False) for table in grown])
        kept = [table for table in rewritten if table.oid in self.baseline.copies]
        self._at_once(kept, [self._insert_into(table) for table in kept])

    def _at_once(self, tables: Sequence[Relation], statements: Sequence[sql.Composed]) -> None:
        if not statements:
            return
        steps = [
            sql.SQL("{} AS ({})").format(sql.Identifier(f"step_{number}"), statement)
            for number, statement in enumerate(statements)
        ]
        statement = sql.SQL("WITH {} SELECT").format(sql.SQL(", ").join(steps))
        run(self.connection, statement, tables)


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
