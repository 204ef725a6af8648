"""The rows of tables: what is new is deleted, what the baseline kept is put back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.restore import open_transactions
from pytest_berth.services.postgres.restore.catalog import closure
from pytest_berth.services.postgres.restore.transactions import row
from pytest_berth.services.postgres.restore.write_back import trigger_guards
from pytest_berth.services.postgres.restore.write_back.change_relations import run, writing

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.services.postgres.restore.baseline import Baseline
    from pytest_berth.services.postgres.restore.catalog import Relation
    from pytest_berth.services.postgres.restore.diff import Difference
    from pytest_berth.services.postgres.restore.transactions import Connection


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
