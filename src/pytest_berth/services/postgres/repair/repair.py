"""Everything that destroys: all statements of this plugin that change a user's data are here.

They are run on databases that the caller has proven to be ours, and concern nothing but the
current database.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pytest_berth.services.postgres.advice import PRIVATE
from pytest_berth.services.postgres.repair import ddl, holders, large_objects
from pytest_berth.services.postgres.repair.blocking import waiting_on
from pytest_berth.services.postgres.repair.catalog import Guard, Relation, closure
from pytest_berth.services.postgres.repair.contents import storage_of
from pytest_berth.services.postgres.repair.failures import NotRepairable
from pytest_berth.services.postgres.repair.session import Connection, results, row, rows

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from pytest_berth.services.postgres.repair.baseline import Baseline
    from pytest_berth.services.postgres.repair.contents import Storage
    from pytest_berth.services.postgres.repair.dirt import Dirt
    from pytest_berth.services.postgres.repair.holders import Holder

SWITCHED_ON = {
    "O": sql.SQL("ENABLE"),
    "A": sql.SQL("ENABLE ALWAYS"),
    "R": sql.SQL("ENABLE REPLICA"),
}
# Not by the view pg_stat_activity, which looks up names.
OTHERS = """
SELECT pid, pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_get_activity(NULL)
WHERE datid = (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())
AND backend_type = 'client backend' AND pid <> ALL (%s)
"""
IDENTITIES = {"d": sql.SQL("REPLICA IDENTITY DEFAULT"), "n": sql.SQL("REPLICA IDENTITY NOTHING")}


def end(connection: Connection, holder: Holder) -> None:
    """End another's transaction: roll a prepared one back, end the backend of any other."""
    if holder.gid:
        statement = sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(holder.gid))
        try:
            connection.execute(statement)
        except psycopg.errors.UndefinedObject:
            return
    else:
        # By transaction, not by pid alone: the backend may have gone on to another one.
        rows(
            connection,
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_locks "
            "WHERE locktype = 'virtualxid' AND virtualtransaction = %s AND pid = %s",
            holder.transaction,
            holder.pid,
        )


def end_backends(connection: Connection, kept: Collection[int]) -> list[int]:
    """Tell all other backends of clients of this database to end; return those still there."""
    found = rows(connection, OTHERS, [connection.info.backend_pid, *kept])
    return [pid for pid, _ in found]


@dataclass(frozen=True)
class Finished:
    """How the database stands after a repair.

    Attributes:
        moved: Sequences that had given away values.
        sizes: Bytes of the tables that were touched, with what is stored out of line.
        xid: The repair's transaction, if it has written.
    """

    moved: tuple[Relation, ...]
    storage: Mapping[int, Storage]
    sizes: Mapping[int, int]
    xid: int | None


@dataclass(frozen=True)
class Repair:
    """Puts a baseline back, within the current transaction."""

    connection: Connection
    baseline: Baseline

    def apply(self, dirt: Dirt) -> None:
        """Put everything back that is in *dirt*."""
        with self._guards_off(self._touched(dirt)):
            if self.baseline.replica:
                self._delete(dirt)
                self._insert_each(dirt.altered)
            else:
                self._put_back_with_foreign_keys(dirt)
        for view in dirt.views:
            self._put_back_view(view)
        self._put_back_objects(dirt)

    def finish(self, touched: Sequence[Relation]) -> Finished:
        """Set all sequences back, and read how the database stands then."""
        run = self.baseline.prepared.run
        oids = ",".join(str(table.oid) for table in touched)
        sequences = self.baseline.relations.sequences
        with self._writing(sequences, holders.BLOCK_WRITING):
            moved, storage, sizes, ((xid,),) = results(
                self.connection,
                [run("sequences"), run("storage"), run("sizes", f"'{{{oids}}}'"), run("xid")],
            )
        oids_moved = {oid for (oid,) in moved}
        return Finished(
            tuple(sequence for sequence in sequences if sequence.oid in oids_moved),
            storage_of(storage),
            dict(sizes),
            int(xid) if xid else None,
        )

    def _touched(self, dirt: Dirt) -> list[Relation]:
        altered = dirt.altered
        if not self.baseline.replica:
            altered = tuple(closure(self.baseline.relations, dirt.altered))
        return list({table.oid: table for table in (*dirt.grown, *altered)}.values())

    @contextmanager
    def _guards_off(self, tables: Sequence[Relation]) -> Iterator[None]:
        guarded = [table for table in tables if table.guards]
        for table in guarded:
            self._alter(table, [_off(guard) for guard in table.guards])
        yield
        if guarded:
            # ALTER TABLE is refused while checks of deferred constraints are pending.
            self.connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for table in guarded:
            self._alter(table, [_on(guard) for guard in table.guards])
        if guarded and self.baseline.watched:
            ((own,),) = results(self.connection, [self.baseline.prepared.run("xid")])[0]
            ddl.forget(self.connection, [own])

    def _alter(self, table: Relation, actions: Sequence[sql.Composable]) -> None:
        only = sql.SQL("ONLY " if table.kind == "p" else "")
        statement = sql.SQL("ALTER TABLE {}{} {}").format(
            only, table.identifier, sql.SQL(", ").join(actions)
        )
        self._run(statement, [table], holders.BLOCK_EXCLUSIVE - {"AccessShareLock"})

    def _delete(self, dirt: Dirt) -> None:
        statements = [
            *(self._delete_from(table, all_rows=False) for table in dirt.grown),
            *(self._delete_from(table, all_rows=True) for table in dirt.altered),
        ]
        if statements:
            self._run(sql.SQL("; ").join(statements), dirt.tables)

    def _delete_from(self, table: Relation, *, all_rows: bool) -> sql.Composed:
        statement = sql.SQL("DELETE FROM ONLY {}").format(table.identifier)
        if all_rows or table.oid not in self.baseline.kept:
            return statement
        return sql.SQL("{} WHERE {}").format(statement, self.baseline.mark.is_newer())

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
        with self._writing([table], holders.BLOCK_WRITING):
            (ordered,) = row(self.connection, statement)
        return bool(ordered)

    def _insert_into(self, table: Relation) -> sql.Composed:
        names = sql.SQL("({})").format(table.column_list) if table.columns else sql.SQL("")
        return sql.SQL(
            "INSERT INTO {} {} OVERRIDING SYSTEM VALUE SELECT {} FROM {} ORDER BY ctid"
        ).format(table.identifier, names, table.column_list, self.baseline.kept[table.oid].copy)

    def _truncate(self, tables: Sequence[Relation]) -> None:
        if tables:
            names = [
                sql.SQL("{}{}").format(
                    sql.SQL("" if table.kind == "p" else "ONLY "), table.identifier
                )
                for table in tables
            ]
            statement = sql.SQL("TRUNCATE {}").format(sql.SQL(", ").join(names))
            self._run(statement, tables, holders.BLOCK_EXCLUSIVE)

    def _truncate_and_insert(self, tables: Sequence[Relation]) -> None:
        everything = closure(self.baseline.relations, tables)
        with self._guards_off(everything):
            self._truncate(everything)
            for table in everything:
                if table.oid in self.baseline.kept:
                    self._copy_in(table)

    def _copy_in(self, table: Relation) -> None:
        """Put the kept rows into a file that this transaction has begun, one behind the other.

        INSERT goes back to any page where a narrow row fits; COPY into a new file does not.
        """
        if not table.columns:
            self._insert(table)
            return
        kept = self.baseline.kept[table.oid].copy
        select = sql.SQL("SELECT {} FROM {} ORDER BY ctid").format(table.column_list, kept)
        into = sql.SQL("COPY {} ({}) FROM STDIN").format(table.identifier, table.column_list)
        cursor = self.connection.cursor()
        with cursor.copy(sql.SQL("COPY ({}) TO STDOUT").format(select)) as source:
            parts = list(source)
        with self._writing([table], holders.BLOCK_WRITING), cursor.copy(into) as target:
            for part in parts:
                target.write(part)

    def _put_back_with_foreign_keys(self, dirt: Dirt) -> None:
        """Put tables back while foreign keys fire, which check at the end of a statement.

        So all deletions are one statement and all insertions another: cycles need no order.
        """
        rewritten = closure(self.baseline.relations, dirt.altered)
        self._truncate(rewritten)
        grown = [table for table in dirt.grown if table not in rewritten]
        self._at_once(grown, [self._delete_from(table, all_rows=False) for table in grown])
        kept = [table for table in rewritten if table.oid in self.baseline.kept]
        self._at_once(kept, [self._insert_into(table) for table in kept])

    def _at_once(self, tables: Sequence[Relation], statements: Sequence[sql.Composed]) -> None:
        if not statements:
            return
        steps = [
            sql.SQL("{} AS ({})").format(sql.Identifier(f"step_{number}"), statement)
            for number, statement in enumerate(statements)
        ]
        self._run(sql.SQL("WITH {} SELECT").format(sql.SQL(", ").join(steps)), tables)

    def _put_back_view(self, view: Relation) -> None:
        kept = view.oid in self.baseline.kept
        self._run(
            sql.SQL("REFRESH MATERIALIZED VIEW {} {}").format(
                view.identifier,
                sql.SQL("WITH DATA" if kept and not self.baseline.replica else "WITH NO DATA"),
            ),
            [view],
            holders.BLOCK_EXCLUSIVE,
        )
        if kept and self.baseline.replica:
            self._fill_view(view)
        elif kept:
            self._check_view(view)

    def _fill_view(self, view: Relation) -> None:
        """Give a view the very rows it had, which a refresh need not: it may have been stale.

        PostgreSQL inserts into a relation of kind ``m`` only during REFRESH. A superuser may
        make it an ordinary table for a moment, which no one else sees: the transaction holds
        its exclusive lock.
        """
        change = "UPDATE pg_catalog.pg_class SET relkind = %s, relispopulated = true WHERE oid = %s"
        try:
            self.connection.execute(change, ("r", view.oid))
        except psycopg.errors.InsufficientPrivilege as error:
            raise self._stale(view) from error
        self._copy_in(view)
        self.connection.execute(change, ("m", view.oid))

    def _check_view(self, view: Relation) -> None:
        digest = sql.SQL(
            "(SELECT ROW(count(*), sum(pg_catalog.hashtextextended(ROW({})::text, 0))) FROM {})"
        )
        copy = self.baseline.kept[view.oid].copy
        query = sql.SQL("SELECT {} = {}").format(
            digest.format(view.column_list, view.identifier),
            digest.format(view.column_list, copy),
        )
        if not row(self.connection, query)[0]:
            raise self._stale(view)

    def _stale(self, view: Relation) -> NotRepairable:
        return NotRepairable(
            f"The materialized view {view} cannot be put back.",
            why="a refresh yields other rows than the baseline had, and the role is not superuser",
            remedy=f"REFRESH MATERIALIZED VIEW {view} in the seeds, so that it is not stale,"
            f" or give the test a private database: {PRIVATE}",
        )

    def _put_back_objects(self, dirt: Dirt) -> None:
        if dirt.added_objects:
            rows(
                self.connection,
                "SELECT pg_catalog.lo_unlink(oid) FROM unnest(%s::oid[]) AS added (oid)",
                list(dirt.added_objects),
            )
        for oid in dirt.altered_objects:
            self._put_back_object(oid)
        expected = self.baseline.large_objects
        if dirt.altered_objects and large_objects.read(self.connection) != expected:
            raise NotRepairable(
                "Large objects of the baseline cannot be put back.",
                why=f"owner or rights of {list(dirt.altered_objects)} were changed",
                remedy=f"give the test a private database: {PRIVATE}",
            )

    def _put_back_object(self, oid: int) -> None:
        exists = rows(
            self.connection,
            "SELECT pg_catalog.lo_truncate64(pg_catalog.lo_open(oid, 131072), 0) "
            "FROM pg_catalog.pg_largeobject_metadata WHERE oid = %s",
            oid,
        )
        put = sql.SQL("lo_put(id, 0, contents)" if exists else "lo_from_bytea(id, contents)")
        query = sql.SQL("SELECT pg_catalog.{} FROM {} WHERE id = %s")
        rows(self.connection, query.format(put, self.baseline.kept_objects), oid)

    def _run(
        self,
        statement: sql.Composed,
        relations: Sequence[Relation],
        modes: Collection[str] = holders.BLOCK_WRITING,
    ) -> None:
        with self._writing(relations, modes):
            self.connection.execute(statement, prepare=False)

    @contextmanager
    def _writing(self, relations: Sequence[Relation], modes: Collection[str]) -> Iterator[None]:
        try:
            with waiting_on(relations, modes):
                yield
        except psycopg.errors.IntegrityError as error:
            names = ", ".join(map(str, relations))
            raise NotRepairable(
                f"The rows of the baseline are no longer accepted by {names}.",
                why=str(error.diag.message_primary),
                remedy=f"give the test a private database: {PRIVATE}",
            ) from error


def _off(guard: Guard) -> sql.Composable:
    if guard.enabled in IDENTITIES:
        return sql.SQL("REPLICA IDENTITY FULL")
    return _switch(guard, sql.SQL("DISABLE"))


def _on(guard: Guard) -> sql.Composable:
    return IDENTITIES.get(guard.enabled) or _switch(guard, SWITCHED_ON[guard.enabled])


def _switch(guard: Guard, action: sql.SQL) -> sql.Composed:
    return sql.SQL("{} {} {}").format(action, sql.SQL(guard.kind), sql.Identifier(guard.name))
