"""What a worker's database holds, and the way back to what it held.

The server counts what is written to each table, by whichever connection, also in transactions that
are rolled back: a table whose count has not moved is as it was. What a table held is kept in a copy
on the server, where no value has to be understood: the template has those of the seeds. TRUNCATE
and other DDL are not counted by table, but by kind: where one was sent, the structure is compared,
and every table is looked at.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import pymysql
from pymysql.constants import ER

from pytest_berth.debug_log import debug, ignoring
from pytest_berth.errors import NotRestoredError
from pytest_berth.services.mysql import run_databases, saved_rows, sequences
from pytest_berth.services.mysql.connections import quoted
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from pytest_berth.file_locks import SharedNumber
    from pytest_berth.services.mysql.connections import Ask, Connection
    from pytest_berth.services.mysql.saved_rows import SavedRows

_COUNTS = """
SELECT object_name, count_write, count_insert
FROM performance_schema.table_io_waits_summary_by_table
WHERE object_schema = {} AND count_write > 0
"""
# Whether the server counts depends on more of its settings than may be asked for: it is tried.
_TRIED = "berth_tried"
_TRY = f"CREATE TABLE {_TRIED} (value int); INSERT INTO {_TRIED} VALUES (1)"
# Of what is in a database.
_OBJECTS = ("table", "index", "view", "trigger", "procedure", "function", "event", "sequence")
_DDL = [f"Com_{verb}_{each}" for verb in ("create", "alter", "drop", "rename") for each in _OBJECTS]
_DDL.append("Com_alter_db")
# Of what is beside databases.
_BESIDE = [
    *(f"Com_{verb}_{each}" for verb in ("create", "drop") for each in ("db", "user", "role")),
    *("Com_alter_user", "Com_rename_user", "Com_grant", "Com_revoke", "Com_grant_role"),
]
_DDL_SENT = """
SELECT SUM(IF(variable_name IN ({2}), 0, variable_value)),
  SUM(IF(variable_name IN ({2}), variable_value, 0))
FROM {0}.global_status WHERE variable_name IN ('Com_truncate', {1}, {2})
"""
_STRUCTURE = """
SELECT CONCAT_WS('/', schema_name, default_character_set_name, default_collation_name)
FROM information_schema.schemata WHERE schema_name = {0} UNION ALL
SELECT CONCAT_WS('/', table_name, engine, row_format, table_collation, create_options,
  table_comment) FROM information_schema.tables
WHERE table_schema = {0} AND table_type IN ('BASE TABLE', 'SYSTEM VERSIONED') UNION ALL
SELECT CONCAT_WS('/', table_name, column_name, ordinal_position, column_default, is_nullable,
  column_type, collation_name, column_key, extra, generation_expression, column_comment)
FROM information_schema.columns WHERE table_schema = {0} UNION ALL
SELECT CONCAT_WS('/', table_name, partition_name, partition_ordinal_position, partition_method,
  partition_expression, partition_description) FROM information_schema.partitions
WHERE table_schema = {0} AND partition_name IS NOT NULL UNION ALL
SELECT CONCAT_WS('/', table_name, index_name, non_unique, seq_in_index, column_name, sub_part,
  index_type) FROM information_schema.statistics WHERE table_schema = {0} UNION ALL
SELECT CONCAT_WS('/', table_name, constraint_name, constraint_type)
FROM information_schema.table_constraints WHERE table_schema = {0} UNION ALL
SELECT CONCAT_WS('/', constraint_name, check_clause)
FROM information_schema.check_constraints WHERE constraint_schema = {0} UNION ALL
SELECT CONCAT_WS('/', table_name, view_definition) FROM information_schema.views
WHERE table_schema = {0} UNION ALL
SELECT CONCAT_WS('/', trigger_name, event_object_table, action_timing, event_manipulation,
  action_statement)
FROM information_schema.triggers WHERE trigger_schema = {0} UNION ALL
SELECT CONCAT_WS('/', routine_type, routine_name, dtd_identifier, routine_definition)
FROM information_schema.routines WHERE routine_schema = {0} UNION ALL
SELECT CONCAT_WS('/', specific_name, routine_type, ordinal_position, parameter_mode,
  parameter_name, dtd_identifier)
FROM information_schema.parameters WHERE specific_schema = {0} UNION ALL
SELECT CONCAT_WS('/', table_name, constraint_name, column_name, ordinal_position,
  referenced_table_name, referenced_column_name) FROM information_schema.key_column_usage
WHERE constraint_schema = {0} AND referenced_table_name IS NOT NULL UNION ALL
SELECT CONCAT_WS('/', table_name, constraint_name, referenced_table_name, update_rule, delete_rule)
FROM information_schema.referential_constraints WHERE constraint_schema = {0} UNION ALL
SELECT CONCAT_WS('/', event_name, event_definition, interval_value, interval_field, execute_at,
  status) FROM information_schema.events WHERE event_schema = {0}
"""
# MySQL tells its status where it counts, MariaDB where it tells of structure.
_ASKED = """
SELECT IF(VERSION() LIKE '%MariaDB%', 'information_schema', 'performance_schema'),
  @@performance_schema
"""
# MySQL knows none before the first row.
_NUMBERS = """
SELECT table_name, COALESCE(auto_increment, 1) FROM information_schema.tables
WHERE table_schema = %s AND table_name IN %s
"""
_NUMBERED = """
SELECT table_name FROM information_schema.columns
WHERE table_schema = %s AND extra LIKE '%%auto_increment%%'
"""
_TABLES = """
SELECT table_name, engine FROM information_schema.tables
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
# Comments before a statement, without those that are carried out: /*!80000 ... */, /*M! ... */.
_COMMENT = "/[*]([^*!M][^*]*)?[*]+([^/*][^*]*[*]+)*/|--([[:blank:]][^\n]*)?\n|#[^\n]*\n"
READING = f"^([[:space:](]|{_COMMENT})*(SELECT|SHOW|EXPLAIN|DESCRIBE)"
# Statements of others that may write, and have not ended: who sent one need not live any more.
_RUNNING = f"""
SELECT id FROM information_schema.processlist
WHERE db = {{}} AND id <> CONNECTION_ID() AND command IN ('Query', 'Execute')
  AND info NOT REGEXP '{READING}'
"""
_BUSY = f"{_CONNECTED} AND command IN ('Query', 'Execute')"
# By LOCK TABLES, where no statement runs: a transaction's locks do not count as use.
_IN_USE = "SHOW OPEN TABLES FROM {} WHERE In_use > 0"
_IDLE = f"{_CONNECTED} AND command = 'Sleep' ORDER BY time, id DESC"
_LOCKED = {ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK}
# 0 is a value of its own in an AUTO_INCREMENT column, not one to be made.
_SESSION = (
    "SET foreign_key_checks = 0, innodb_lock_wait_timeout = 1, lock_wait_timeout = 1,"
    " sql_mode = 'NO_AUTO_VALUE_ON_ZERO'"
    # MySQL alone reads this: it would tell where AUTO_INCREMENT stood a day ago.
    " /*!80000 , information_schema_stats_expiry = 0 */"
)
# Numbers of errors that the client makes, and not the server.
_OF_CLIENT = range(2000, 3000)
_STATEMENT_ENDS_WITHIN = 5.0
_CONNECTION_ENDS_WITHIN = 5.0
_CLOSED_WITHIN = 0.5
_ATTEMPTS = 3


class Rows(NamedTuple):
    """What a table held, or where a sequence stood.

    Attributes:
        copy: The quoted name of the table that has the same rows; empty where it held none.
        number: Where its AUTO_INCREMENT stood, or the sequence; None where it has none.
    """

    copy: str
    number: int | None


class Written(NamedTuple):
    """How often a table was written to since the server's start.

    Attributes:
        times: Rows that were inserted, changed or deleted.
        inserted: The inserted ones among them.
    """

    times: int
    inserted: int


class Changed(NamedTuple):
    """The tables that were written to.

    Attributes:
        tables: Their names.
        inserted: Those among them that rows were inserted into: where AUTO_INCREMENT has moved.
    """

    tables: set[str]
    inserted: set[str]


class Contents:
    """What the tables of a worker's database hold.

    Args:
        connection: Berth's own, to the database.
        database: Its name.
        template: The database that it is a clone of.
        kept: Name of the database for copies of rows; it is made when one is.
        own_ddl: How much DDL berth has sent itself, in all workers' databases.

    Attributes:
        dirty: The tables that were put back.
        copies: The rows of copies, by their quoted names.
        made: How many copies were made, as each is named by its number.
        rows_are_back: Whether what was written since was rolled back.
        forget_connections: Closes the connections on which tests work; new ones are opened.
        place: The schema in which the server tells of itself.
        sent_beside: How often something was sent that changes users or databases.
    """

    def __init__(
        self,
        connection: Connection,
        database: str,
        template: str,
        kept: str,
        own_ddl: SharedNumber,
    ) -> None:
        self._connection = connection
        self._database = database
        self._template = template
        self._kept = kept
        self._own_ddl = own_ddl
        self._has_kept = False
        self.made = 0
        self._held: dict[str, Rows] = {}
        self._counted: dict[str, Written] | None = None
        self._ddl_seen: int | None = 0
        self.copies: dict[str, SavedRows] = {}
        self.sent_beside = 0
        self.dirty: set[str] = set()
        self.rows_are_back = False
        self.forget_connections: Callable[[], None] = lambda: None
        connection.send(_SESSION)
        self._name = connection.escape(database)
        place, is_counted = connection.rows(_ASKED)[0]
        self._counts_query = _COUNTS.format(self._name)
        self._running_query = _RUNNING.format(self._name)
        self._in_use_query = _IN_USE.format(quoted(database))
        self._is_written_to = False
        self._is_locked = False
        self._is_counted = bool(is_counted) and self._counts_writes()
        self._ddl_sent = _DDL_SENT.format(
            place, *(", ".join(map(connection.escape, kinds)) for kinds in (_DDL, _BESIDE))
        )
        self.place = place
        self._learn()

    @property
    def held(self) -> Mapping[str, Rows]:
        """What each table held when it was last looked at, or put back."""
        return dict(self._held)

    def capture(self) -> Mapping[str, Rows]:
        """Return what each table holds now."""
        changed = self._changed().tables | self._uncounted
        numbers = self._numbers(changed)
        for table in changed:
            self._held[table] = Rows(self._copy(table), numbers.get(table))
        for name, number in self._moved_sequences(self._held).items():
            self._held[name] = Rows("", self._settled(name, number))
        return self.held

    def restore(self, before: Mapping[str, Rows]) -> None:
        """Make each table hold what it held, and nothing else.

        Raises:
            NotRestoredError: The server refuses it.
        """
        only_numbers, self.rows_are_back = self.rows_are_back, False
        changed, inserted = self._changed()
        if self._is_written_to:
            self._end_statements()
            later = self._changed()
            changed, inserted = changed | later.tables, inserted | later.inserted
        if self._is_locked:
            self._end_table_locks()
        self._put_back_sequences(before)
        changed |= {table for table in self._tables if before.get(table) != self._held[table]}
        self.dirty |= changed
        changed = (changed | self._uncounted) & before.keys()  # others are gone with their clone
        if not changed:
            return
        first = changed & self._triggered
        if first:
            self._at_last(lambda: self._put_back(first, before, inserted, only_numbers))
            # What triggers wrote meanwhile is put back with the others.
            changed = (changed | self._moved(self._look()[0])) & before.keys() - self._triggered
        self._at_last(lambda: self._put_back(changed, before, inserted, only_numbers))
        self._held = dict(before)

    def _put_back_sequences(self, before: Mapping[str, Rows]) -> None:
        moved = self._moved_sequences(before)
        if moved:
            back = [sequences.restart(self._database, e, before[e].number or 0) for e in moved]
            self._at_last(lambda: self._send_ddl(back))
        self.dirty |= moved.keys()
        self._held |= {name: before[name] for name in self._sequences if name in before}

    def _moved_sequences(self, before: Mapping[str, Rows]) -> dict[str, int]:
        """Return where those sequences stand that do not stand where they stood."""
        found = sequences.standing(self._connection, self._database, self._sequences)
        return {
            name: number
            for name, number in found.items()
            if name in before and before[name].number != number
        }

    def _settled(self, name: str, number: int) -> int:
        """Return a sequence's next number, and let the sequence tell it.

        Where a fixture's open transaction has used it, numbers that were taken ahead are left out.
        """
        taken = sequences.take(self._connection, self._database, name)
        if taken is None:
            return number
        try:
            self._send_ddl([sequences.restart(self._database, name, taken)])
        except pymysql.OperationalError as error:
            if error.args[0] not in _LOCKED:
                raise
            return number
        return taken

    def _put_back(
        self,
        tables: Iterable[str],
        before: Mapping[str, Rows],
        inserted: Collection[str],
        only_numbers: bool,
    ) -> None:
        """Put tables back, in as few packets as can be."""
        tables = sorted(tables)
        # Looking whether an empty one is empty costs nothing, also where it was rolled back.
        rows = [
            (table, statement)
            for table in tables
            if not only_numbers or not before[table].copy or table in self._uncounted
            for statement in self._rows(table, before[table])
        ]
        numbered = [table for table in tables if before[table].number is not None]
        moved = [_alter(table, before[table]) for table in numbered if table in inserted]
        asked = tuple(table for table in numbered if table not in inserted)
        sent = ["START TRANSACTION", *(statement for _, statement in rows), "COMMIT", *moved]
        if asked:
            sent.append(self._connection.mogrify(_NUMBERS, (self._database, asked)))
        with self._own_ddl.add(len(moved)) if moved else nullcontext():
            results = self._connection.results(";".join(sent))
        self._count(rows, [result.affected for result in results[1:]])
        numbers = dict(results[-1].rows) if asked else {}
        self._send_ddl(
            [_alter(each, before[each]) for each in asked if numbers[each] != before[each].number]
        )

    def _count(self, sent: Sequence[tuple[str, str]], affected: Sequence[int]) -> None:
        """Add what was just written to what the server has counted, which costs no question.

        Where it counts otherwise, the table is looked at once more, before the next test.
        """
        if self._counted is None:
            return
        for (table, statement), rows in zip(sent, affected, strict=False):
            times, inserted = self._counted.get(table, Written(0, 0))
            is_insert = statement.startswith("INSERT")
            self._counted[table] = Written(times + rows, inserted + rows * is_insert)

    def _send_ddl(self, statements: Sequence[str]) -> None:
        """Send statements of which each counts as one of DDL, and is no test's."""
        if statements:
            with self._own_ddl.add(len(statements)):
                self._connection.send(";".join(statements))

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

    def _changed(self) -> Changed:
        """Return the tables that were written to; a database of another structure is made anew."""
        found, ddl = self._look()
        changed = self._moved(found)
        inserted = self._inserted(found)
        self._counted = found
        if ddl is None or ddl != self._ddl_seen:
            self._ddl_seen = ddl
            if self._read_structure() != self._structure or self._read_shapes() != self._shapes:
                debug("mysql: the structure of %s was changed: it is cloned anew", self._database)
                self._at_last(self._remake)
            return Changed(set(self._tables), set())
        return Changed(changed | self._cascaded(changed), inserted)

    def _moved(self, counts: Mapping[str, Written] | None) -> set[str]:
        if counts is None or self._counted is None:
            return set(self._tables)
        return {table for table, _ in counts.items() ^ self._counted.items()} & self._tables

    def _inserted(self, counts: Mapping[str, Written] | None) -> set[str]:
        if counts is None or self._counted is None:
            return set()
        known = self._counted
        return {t for t, n in counts.items() if t not in known or n.inserted != known[t].inserted}

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
        self.forget_connections()

    def _learn(self) -> None:
        """Read what there is in a new clone: it holds what the template holds."""
        connection, name = self._connection, (self._database,)
        self._columns = run_databases.columns(connection, self._database)
        engines = dict(connection.rows(_TABLES, name))
        tables = list(engines)
        # Of other engines' tables not all is counted, and nothing can be rolled back.
        self._uncounted = {table for table, engine in engines.items() if engine != "InnoDB"}
        self._numbered = {table for (table,) in connection.rows(_NUMBERED, name)}
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
        self._tables = frozenset(tables)
        self._sequences = sequences.names(connection, self._database)
        standing = sequences.standing(connection, self._database, self._sequences)
        self._held |= {each: Rows("", number) for each, number in standing.items()}
        self._structure = self._read_structure()
        self._shapes = self._read_shapes()
        self._counted, self._ddl_seen = self._look()

    def _copy(self, table: str) -> str:
        """Copy what a table holds, on the server; it is kept here, too, should the server die."""
        if table not in self._filled([table]):
            return ""
        self.made += 1
        copy = f"{quoted(self._kept)}.{quoted(f'c{self.made}')}"
        listed = ", ".join(map(quoted, self._columns[table]))
        self._begin_copy(copy, table)
        self._connection.send(f"INSERT INTO {copy} ({listed}) SELECT {listed} FROM {quoted(table)}")
        self.copies[copy] = saved_rows.read(self._connection, table, self._columns[table])
        return copy

    def _begin_copy(self, copy: str, table: str) -> None:
        if not self._has_kept:
            run_databases.create(self._connection, self._kept)
            self._has_kept = True
        self._send_ddl([f"CREATE TABLE {copy} LIKE {quoted(table)}"])

    def fill_copies(self, former: Contents) -> None:
        """Make copies that were on a lost server; no later one is to have the name of any."""
        self.made = former.made
        of_clone = {copy: each for copy, each in former.copies.items() if each.table in self._held}
        for copy, saved in of_clone.items():
            self._begin_copy(copy, saved.table)
            for statement in saved.statements(copy):
                self._connection.send(statement)
            self.copies[copy] = saved

    def columns(self, table: str) -> Sequence[str]:
        """Return the columns of a table that can be written to."""
        return self._columns[table]

    def keys(self, table: str) -> Sequence[str]:
        """Return the columns of a table's primary key."""
        return self._keys.get(table, ())

    def written(self, ask: Ask) -> set[str]:
        """Return the tables that were written to since they were last looked at, for a report."""
        counts = _by_table(ask(self._counts_query)) if self._is_counted else None
        changed = self._moved(counts)
        return changed | self._cascaded(changed)

    def altered(self, ask: Ask) -> list[str]:
        """Return the names of what has another structure than the template, for a report."""
        now = set(ask(_STRUCTURE.format(self._name)))
        return sorted({str(line).partition("/")[0] for (line,) in now ^ set(self._structure)})

    def forget_copies(self, needed: Collection[str]) -> None:
        """Drop the copies that nothing is put back from any more."""
        over = [copy for copy in self.copies if copy not in needed]
        self._send_ddl([f"DROP TABLE {copy}" for copy in over])
        for copy in over:
            del self.copies[copy]

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

    def _numbers(self, tables: Collection[str]) -> dict[str, int]:
        """Return where AUTO_INCREMENT stands, of those tables that have it."""
        asked = tuple(self._numbered.intersection(tables))
        return dict(self._connection.rows(_NUMBERS, (self._database, asked))) if asked else {}

    def _look(self) -> tuple[dict[str, Written] | None, int | None]:
        """Return how often each table was written to, and how often DDL was sent, but for berth's.

        Of DDL None is returned where it is not known.
        """
        counting = [self._counts_query] if self._is_counted else []
        # First what runs: what has ended by then is counted.
        looks = [self._running_query, self._in_use_query, *counting, self._ddl_sent]
        with self._own_ddl.read() as own:
            running, in_use, *counts, ((ddl, beside),) = self._connection.send(";".join(looks))
        self._is_written_to = bool(running)
        self._is_locked = bool(in_use)
        self.sent_beside = int(beside)
        tables = _by_table(counts[0]) if counts else None
        return tables, None if own is None else int(ddl) - own

    def _counts_writes(self) -> bool:
        """Tell whether the server counts what is written, and tells this account."""
        try:
            counts = self._connection.send(f"{_TRY};{self._counts_query}")[-1]
        except pymysql.OperationalError as error:
            debug("mysql: the server does not tell what is written to: %s", error)
            return False
        finally:
            self._connection.send(f"DROP TABLE IF EXISTS {_TRIED}")
        return _TRIED in _by_table(counts)

    def _read_structure(self) -> list[Any]:
        return sorted(self._connection.rows(_STRUCTURE.format(self._name)))

    def _read_shapes(self) -> list[Any]:
        return sequences.shapes(self._connection, self._database, self._sequences)

    def _at_last(self, work: Callable[[], None]) -> None:
        """Do something for which transactions that a test has left may have to be ended."""
        for left in reversed(range(_ATTEMPTS)):
            try:
                work()
                return
            except pymysql.MySQLError as error:
                code = error.args[0] if error.args else None
                if not code or code in _OF_CLIENT:  # the connection is lost
                    raise
                self._connection.send("ROLLBACK")
                if code not in _LOCKED or not left:
                    self._counted = None  # so that every table is looked at when it is tried again
                    raise _not_restored(error) from error
                self._end_transactions()

    def _end_statements(self) -> None:
        """Wait for statements that write, and end those that take too long.

        The server carries a statement out to its end, also when its client has gone.
        """

        def running() -> list[Any]:
            return self._connection.rows(self._running_query)

        with ignoring(TimeoutError, why="what runs is ended"):
            wait_for(lambda: not running(), _STATEMENT_ENDS_WITHIN, message="the last statements")
        endless = f"{self._running_query} AND time >= {int(_STATEMENT_ENDS_WITHIN) - 1}"
        for (number,) in self._connection.rows(endless):
            debug("mysql: connection %s, whose statement takes too long, is ended", number)
            with ignoring(pymysql.OperationalError, why="it has ended meanwhile"):
                self._connection.send(f"KILL {number}")

    def _end_table_locks(self) -> None:
        """End idle connections, the last one first, until no table is locked any more.

        The server does not tell which of them holds a lock. Those that berth opens anew go first.
        """
        if not self._are_tables_locked():
            return
        self.forget_connections()
        with ignoring(TimeoutError, why="connections of others are ended"):
            wait_for(lambda: not self._are_tables_locked(), _CLOSED_WITHIN, message="the unlocking")
        for (number,) in self._connection.rows(_IDLE, (self._database,)):
            if not self._are_tables_locked():
                return
            debug("mysql: connection %s, which may have locked tables, is ended", number)
            with ignoring(pymysql.OperationalError, why="it has ended meanwhile"):
                self._connection.send(f"KILL {number}")
            with ignoring(TimeoutError, why="the next test tells"):
                self._wait_for_end(number)

    def _are_tables_locked(self) -> bool:
        """Tell whether an idle connection has locked tables; a statement that runs uses its own."""

        def is_busy() -> bool:
            return bool(self._connection.rows(_BUSY, (self._database,)))

        return not is_busy() and bool(self._connection.rows(self._in_use_query)) and not is_busy()

    def _wait_for_end(self, number: int) -> None:
        def is_over() -> bool:
            return (number,) not in self._connection.rows(_CONNECTED, (self._database,))

        wait_for(is_over, _CONNECTION_ENDS_WITHIN, message=f"the end of connection {number}")

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


def _alter(table: str, before: Rows) -> str:
    return f"ALTER TABLE {quoted(table)} AUTO_INCREMENT = {before.number}"


def _by_table(rows: Iterable[Any]) -> dict[str, Written]:
    return {table: Written(int(times), int(inserted)) for table, times, inserted in rows}


def _not_restored(error: pymysql.MySQLError) -> NotRestoredError:
    return NotRestoredError(
        "the MySQL database cannot be put back as it was before the test.",
        why=str(error.args[-1]),
        remedy="end transactions in the test that began them; give a test that changes what cannot"
        " be put back a server of its own: @pytest.mark.berth_mysql(scope='test')",
    )
