"""What a worker's database holds, and the way back to what it held.

The server counts what is written to each table, by whichever connection, also in transactions that
are rolled back: a table whose count has not moved is as it was. What a table held is kept in a copy
on the server, where no value has to be understood: the template has those of the seeds. TRUNCATE
and other DDL are not counted by table, but by kind: where one was sent, the structure is compared,
and every table is looked at.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pymysql
from pymysql.constants import ER

from pytest_berth.debug_log import debug
from pytest_berth.errors import NotRestoredError
from pytest_berth.services.mysql import run_databases
from pytest_berth.services.mysql.connections import quoted

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from pytest_berth.services.mysql.connections import Connection

_COUNTS = """
SELECT object_name, count_write FROM performance_schema.table_io_waits_summary_by_table
WHERE object_schema = {} AND count_write > 0
"""
# Of what is in a database; other objects, such as users, are not looked at.
_OBJECTS = ("table", "index", "view", "trigger", "procedure", "function", "event", "sequence")
_DDL = [f"Com_{verb}_{each}" for verb in ("create", "alter", "drop", "rename") for each in _OBJECTS]
_DDL_SENT = """
SELECT SUM(variable_value) FROM {}.global_status WHERE variable_name IN ('Com_truncate', {})
"""
_STRUCTURE = """
SELECT CONCAT_WS('/', table_name, column_name, ordinal_position, column_default, is_nullable,
  column_type, collation_name, column_key, extra) FROM information_schema.columns
WHERE table_schema = {0} UNION ALL
SELECT CONCAT_WS('/', table_name, index_name, non_unique, seq_in_index, column_name, sub_part)
FROM information_schema.statistics WHERE table_schema = {0} UNION ALL
SELECT CONCAT_WS('/', table_name, constraint_name, constraint_type)
FROM information_schema.table_constraints WHERE table_schema = {0} UNION ALL
SELECT CONCAT_WS('/', table_name, view_definition) FROM information_schema.views
WHERE table_schema = {0} UNION ALL
SELECT CONCAT_WS('/', trigger_name, event_object_table, action_statement)
FROM information_schema.triggers WHERE trigger_schema = {0} UNION ALL
SELECT CONCAT_WS('/', routine_type, routine_name, routine_definition)
FROM information_schema.routines WHERE routine_schema = {0}
"""
# MySQL tells its status where it counts, MariaDB where it tells of structure.
_ASKED = """
SELECT IF(VERSION() LIKE '%MariaDB%', 'information_schema', 'performance_schema'),
  @@performance_schema
"""
_NUMBERS = """
SELECT table_name, auto_increment FROM information_schema.tables
WHERE table_schema = %s AND table_name IN %s
"""
_TABLES = """
SELECT table_name FROM information_schema.tables
WHERE table_schema = %s AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED')
"""
_KEYS = """
SELECT table_name, column_name FROM information_schema.statistics
WHERE table_schema = %s AND index_name = 'PRIMARY' ORDER BY table_name, seq_in_index
"""
_CASCADES = """
SELECT table_name, referenced_table_name FROM information_schema.referential_constraints
WHERE constraint_schema = %s AND (delete_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT')
  OR update_rule IN ('CASCADE', 'SET NULL', 'SET DEFAULT'))
"""
_TRIGGERED = """
SELECT DISTINCT event_object_table FROM information_schema.triggers WHERE trigger_schema = %s
"""
_CONNECTED = """
SELECT id FROM information_schema.processlist WHERE db = %s AND id <> CONNECTION_ID()
"""
_IN_TRANSACTION = (
    f"{_CONNECTED} AND id IN (SELECT trx_mysql_thread_id FROM information_schema.innodb_trx)"
)
_LOCKED = {ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK}
# 0 is a value of its own in an AUTO_INCREMENT column, not one to be made.
_SESSION = (
    "SET foreign_key_checks = 0, innodb_lock_wait_timeout = 1, lock_wait_timeout = 1,"
    " sql_mode = 'NO_AUTO_VALUE_ON_ZERO'"
    # MySQL alone reads this: it would tell where AUTO_INCREMENT stood a day ago.
    " /*!80000 , information_schema_stats_expiry = 0 */"
)
_ATTEMPTS = 3


class Rows(NamedTuple):
    """What a table held.

    Attributes:
        copy: The quoted name of the table that has the same rows; empty where it held none.
        number: Where its AUTO_INCREMENT stood; None where it has none.
    """

    copy: str
    number: int | None


class Contents:
    """What the tables of a worker's database hold.

    Args:
        connection: Berth's own, to the database.
        database: Its name.
        template: The database that it is a clone of.
        kept: Name of the database for copies of rows; it is made when one is.
    """

    def __init__(self, connection: Connection, database: str, template: str, kept: str) -> None:
        self._connection = connection
        self._database = database
        self._template = template
        self._kept = kept
        self._copies = 0
        self._held: dict[str, Rows] = {}
        self._ddl_seen = 0
        self.dirty: set[str] = set()
        self.rows_are_back = False
        self.remade: Callable[[], None] = lambda: None
        connection.send(_SESSION)
        self._name = connection.escape(database)
        place, is_counted = connection.rows(_ASKED)[0]
        self._counts_query = _COUNTS.format(self._name)
        self._is_counted = bool(is_counted) and self._may_ask()
        self._ddl_sent = _DDL_SENT.format(place, ", ".join(map(connection.escape, _DDL)))
        self._learn()

    @property
    def held(self) -> Mapping[str, Rows]:
        """What each table held when it was last looked at, or put back."""
        return dict(self._held)

    def capture(self) -> Mapping[str, Rows]:
        """Return what each table holds now."""
        changed = self._changed()
        numbers = self._numbers(changed)
        for table in changed:
            self._held[table] = Rows(self._copy(table), numbers.get(table))
        return self.held

    def restore(self, before: Mapping[str, Rows]) -> None:
        """Make each table hold what it held, and nothing else.

        Raises:
            NotRestoredError: The server refuses it.
        """
        rows_are_back, self.rows_are_back = self.rows_are_back, False
        changed = self._changed()
        changed |= {table for table, rows in self._held.items() if before.get(table) != rows}
        if not changed:
            return
        self.dirty |= changed
        if changed - before.keys():  # the clone is new, and what was there before is of another one
            changed &= before.keys()
        for group in (changed & self._triggered, None):
            # What triggers wrote meanwhile is put back with the others.
            tables = group if group is not None else self._others(changed) & before.keys()
            if tables:
                self._at_last(lambda: self._put_back(tables, before, only_numbers=rows_are_back))  # noqa: B023
        self._held = dict(before)

    def _others(self, changed: Collection[str]) -> set[str]:
        if not self._triggered:
            return set(changed)
        return (set(changed) | self._moved(self._look()[0])) - self._triggered

    def _put_back(
        self, tables: Iterable[str], before: Mapping[str, Rows], *, only_numbers: bool
    ) -> None:
        tables = sorted(tables)
        statements = []
        if not only_numbers:
            statements = [each for table in tables for each in self._rows(table, before[table])]
        sent = [f"START TRANSACTION;{';'.join(statements)};COMMIT"] if statements else []
        asked = self._connection.mogrify(_NUMBERS, (self._database, tuple(tables)))
        numbers = dict(self._connection.send(";".join([*sent, asked]))[-1])
        moved = [
            f"ALTER TABLE {quoted(table)} AUTO_INCREMENT = {before[table].number}"
            for table in tables
            if numbers.get(table) not in {None, before[table].number}
        ]
        self._send_ddl(moved)
        self._counted = self._counts()

    def _send_ddl(self, statements: Sequence[str]) -> None:
        """Send statements of which each counts as one of DDL, and is nobody else's."""
        if statements:
            self._connection.send(";".join(statements))
            self._ddl_seen += len(statements)

    def _rows(self, table: str, before: Rows) -> list[str]:
        place, names = quoted(table), [quoted(each) for each in self._columns[table]]
        listed = ", ".join(names)
        if not before.copy:
            return [f"DELETE FROM {place}"]
        keys = [quoted(each) for each in self._keys.get(table, ())]
        if not keys:
            copied = f"INSERT INTO {place} ({listed}) SELECT {listed} FROM {before.copy}"
            return [f"DELETE FROM {place}", copied]
        # Bytes are compared: to a collation, words of another case may be the same.
        equal = " AND ".join(f"BINARY t.{each} <=> BINARY c.{each}" for each in names)
        joined = " AND ".join(f"t.{each} = c.{each}" for each in keys)
        missing = " AND ".join(f"t.{each} IS NULL" for each in keys[:1])
        given = ", ".join(f"c.{each}" for each in names)
        return [
            f"DELETE t FROM {place} t LEFT JOIN {before.copy} c ON {joined} AND {equal}"
            f" WHERE c.{keys[0]} IS NULL",
            f"INSERT INTO {place} ({listed}) SELECT {given} FROM {before.copy} c"
            f" LEFT JOIN {place} t ON {joined} WHERE {missing}",
        ]

    def _changed(self) -> set[str]:
        """Return the tables that were written to; a database of another structure is made anew."""
        found, ddl = self._look()
        changed = self._moved(found)
        self._counted = found
        if ddl != self._ddl_seen:
            self._ddl_seen = ddl
            if self._read_structure() != self._structure:
                debug("mysql: the structure of %s was changed: it is cloned anew", self._database)
                self._at_last(self._remake)
            changed = set(self._held)
        return changed | self._cascaded(changed)

    def _moved(self, counts: Mapping[str, int] | None) -> set[str]:
        if counts is None or self._counted is None:
            return set(self._held)
        known = self._counted
        return {t for t, count in counts.items() if known.get(t) != count and t in self._held}

    def _cascaded(self, changed: Collection[str]) -> set[str]:
        """Return the tables that foreign keys have changed, which nobody counts."""
        found, waiting = set(changed), set(changed)
        while waiting:
            waiting = {child for child, parent in self._cascades if parent in waiting} - found
            found |= waiting
        return {table for table in found if self._held[table].copy}

    def _remake(self) -> None:
        run_databases.empty(self._connection, self._database)
        run_databases.clone(self._connection, self._template, self._database)
        self._connection.send(_SESSION)
        self._learn()
        self.remade()

    def _learn(self) -> None:
        """Read what there is in a new clone: it holds what the template holds."""
        connection, name = self._connection, (self._database,)
        self._columns = run_databases.columns(connection, self._database)
        tables = [table for (table,) in connection.rows(_TABLES, name)]
        self._columns = {table: self._columns[table] for table in tables}
        self._keys: dict[str, list[str]] = {}
        for table, column in connection.rows(_KEYS, name):
            self._keys.setdefault(table, []).append(column)
        self._cascades = set(connection.rows(_CASCADES, name))
        self._triggered = {table for (table,) in connection.rows(_TRIGGERED, name)}
        numbers = self._numbers(tables)
        filled = self._filled(tables)
        origin = quoted(self._template)
        self._held = {
            table: Rows(f"{origin}.{quoted(table)}" if table in filled else "", numbers.get(table))
            for table in tables
        }
        self._structure = self._read_structure()
        self._counted, self._ddl_seen = self._look()

    def _copy(self, table: str) -> str:
        if table not in self._filled([table]):
            return ""
        if not self._copies:
            run_databases.create(self._connection, self._kept)
        self._copies += 1
        copy = f"{quoted(self._kept)}.{quoted(f'c{self._copies}')}"
        listed = ", ".join(map(quoted, self._columns[table]))
        made = f"CREATE TABLE {copy} LIKE {quoted(table)}"
        filled = f"INSERT INTO {copy} ({listed}) SELECT {listed} FROM {quoted(table)}"
        self._send_ddl([made])
        self._connection.send(filled)
        return copy

    def _filled(self, tables: Collection[str]) -> set[str]:
        """Return the tables that hold rows."""
        if not tables:
            return set()
        asked = [
            f"SELECT {self._connection.escape(table)} FROM DUAL"
            f" WHERE EXISTS (SELECT 1 FROM {quoted(table)})"
            for table in tables
        ]
        return {table for (table,) in self._connection.rows(" UNION ALL ".join(asked))}

    def _numbers(self, tables: Collection[str]) -> dict[str, int | None]:
        if not tables:
            return {}
        return dict(self._connection.rows(_NUMBERS, (self._database, tuple(tables))))

    def _look(self) -> tuple[dict[str, int] | None, int]:
        """Return how often each table was written to, and how often DDL was sent."""
        asked = [self._counts_query] if self._is_counted else []
        *counts, ((ddl,),) = self._connection.send(";".join([*asked, self._ddl_sent]))
        return dict(counts[0]) if counts else None, int(ddl)

    def _may_ask(self) -> bool:
        try:
            self._connection.rows(self._counts_query)
        except pymysql.OperationalError as error:
            debug("mysql: the server does not tell what is written to: %s", error)
            return False
        return True

    def _counts(self) -> dict[str, int] | None:
        return dict(self._connection.rows(self._counts_query)) if self._is_counted else None

    def _read_structure(self) -> list[Any]:
        return sorted(self._connection.rows(_STRUCTURE.format(self._name)))

    def _at_last(self, work: Callable[[], None]) -> None:
        """Do something for which transactions that a test has left may have to be ended."""
        for left in reversed(range(_ATTEMPTS)):
            try:
                work()
                return
            except pymysql.OperationalError as error:
                if error.args[0] not in _LOCKED:
                    raise
                if not left:
                    raise _not_restored(error) from error
                self._connection.send("ROLLBACK")
                self._end_transactions()
            except (pymysql.IntegrityError, pymysql.ProgrammingError, pymysql.DataError) as error:
                raise _not_restored(error) from error

    def _end_transactions(self) -> None:
        """End what else is connected to the database and has a transaction open."""
        try:
            found = self._connection.rows(_IN_TRANSACTION, (self._database,))
        except pymysql.OperationalError as error:  # an account without the right PROCESS
            debug("mysql: transactions are not told, all connections are ended: %s", error)
            found = self._connection.rows(_CONNECTED, (self._database,))
        for (number,) in found:
            debug("mysql: connection %s, which may hold locks, is ended", number)
            self._connection.send(f"KILL {number}")


def _not_restored(error: pymysql.Error) -> NotRestoredError:
    return NotRestoredError(
        "the MySQL database cannot be put back as it was before the test.",
        why=str(error.args[-1]),
        remedy="end transactions in the test that began them; give a test that changes what cannot"
        " be put back a server of its own: @pytest.mark.berth_mysql(scope='test')",
    )
