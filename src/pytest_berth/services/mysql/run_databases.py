"""The databases of a run on a server: a template, a clone of it for each worker, kept rows.

Every name carries the run's id, which no other run has, and creating a database fails where its
name is taken. Only what bears the run's name is ever dropped.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pymysql
from pymysql.constants import ER

from pytest_berth.errors import IsolationError
from pytest_berth.services.mysql import connections, sequences
from pytest_berth.services.mysql.connections import quoted

if TYPE_CHECKING:
    from pytest_berth.api import Server
    from pytest_berth.services.mysql.connections import Connection

TEMPLATE = "template"
_DENIED = {ER.DBACCESS_DENIED_ERROR, ER.ACCESS_DENIED_ERROR, ER.SPECIFIC_ACCESS_DENIED_ERROR}
_OF_RUN = "SELECT schema_name FROM information_schema.schemata WHERE LEFT(schema_name, %s) = %s"
_TABLES = """
SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = %s
ORDER BY table_type = 'VIEW', table_type <> 'SEQUENCE', table_name
"""
_COLUMNS = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = %s AND COALESCE(generation_expression, '') = ''
ORDER BY table_name, ordinal_position
"""
_TRIGGERS = """
SELECT trigger_name FROM information_schema.triggers WHERE trigger_schema = %s
ORDER BY event_object_table, action_order
"""
_ROUTINES = """
SELECT routine_type, routine_name FROM information_schema.routines WHERE routine_schema = %s
"""
_TEXT = """
SELECT default_character_set_name, default_collation_name FROM information_schema.schemata
WHERE schema_name = %s
"""
_EVENTS = "SELECT event_name FROM information_schema.events WHERE event_schema = %s"


def name(run_id: str, part: str) -> str:
    """Return the name of a run's database: the template's, or a worker's."""
    return f"berth_{run_id}_{part}"


def create(connection: Connection, database: str) -> None:
    """Create a database of the run; one of that name is one that a crashed worker has left."""
    try:
        drop(connection, database)
        connection.send(f"CREATE DATABASE {quoted(database)}")
    except pymysql.OperationalError as error:
        if error.args[0] not in _DENIED:
            raise
        raise IsolationError(
            "the account of berth_mysql_url cannot create databases.",
            why=f"tests work in databases of their own: {error.args[-1]}",
            remedy="GRANT ALL ON `berth\\_%`.* TO that account, or use another one",
        ) from error


def drop(connection: Connection, database: str) -> None:
    """Drop a database of the run."""
    assert database.startswith("berth_"), "only what a run has made is dropped"
    connection.send(f"DROP DATABASE IF EXISTS {quoted(database)}")


def drop_all(server: Server, run_id: str) -> None:
    """Drop all databases of a run."""
    prefix = name(run_id, "")
    with connections.connected(server) as connection:
        for (found,) in connection.rows(_OF_RUN, (len(prefix), prefix)):
            drop(connection, found)


def columns(connection: Connection, database: str) -> dict[str, list[str]]:
    """Return the columns that can be written to, by table."""
    found: dict[str, list[str]] = {}
    for table, column in connection.rows(_COLUMNS, (database,)):
        found.setdefault(table, []).append(column)
    return found


def empty(connection: Connection, database: str) -> None:
    """Drop all that is in a database of the run; sessions that use it stay in it."""
    assert database.startswith("berth_"), "only what a run has made is emptied"
    place = quoted(database)
    statements = ["SET foreign_key_checks = 0"]
    kinds = {"VIEW": "VIEW", "SEQUENCE": "SEQUENCE"}
    for table, kind in reversed(connection.rows(_TABLES, (database,))):
        statements.append(f"DROP {kinds.get(kind, 'TABLE')} {place}.{quoted(table)}")
    for kind, routine in connection.rows(_ROUTINES, (database,)):
        statements.append(f"DROP {kind} {place}.{quoted(routine)}")
    for (event,) in connection.rows(_EVENTS, (database,)):
        statements.append(f"DROP EVENT {place}.{quoted(event)}")
    connection.send(";".join(statements))


def clone(connection: Connection, template: str, database: str) -> None:
    """Fill an empty database with what the template has: structure and rows.

    MySQL copies no database: each object is told by ``SHOW CREATE``, and made again.
    """
    # Views and triggers come last: the rows are there, and nothing is done with them a second time.
    # Sequences come first: columns take their defaults from them.
    tables, views = [], []
    known = columns(connection, template)
    standing = sequences.standing(connection, template, sequences.names(connection, template))
    for table, kind in connection.rows(_TABLES, (template,)):
        statement = _made(connection, f"{_show(kind)} {quoted(template)}.{quoted(table)}", 1)
        statement = statement.replace(f"{quoted(template)}.", f"{quoted(database)}.")
        if kind == "VIEW":
            views.append(statement)
            continue
        tables.append(statement)
        if kind == "SEQUENCE":
            tables.append(sequences.restart(database, table, standing[table]))
        if kind == "BASE TABLE":
            names = ", ".join(map(quoted, known[table]))
            place, origin = quoted(table), f"{quoted(template)}.{quoted(table)}"
            tables.append(f"INSERT INTO {place} ({names}) SELECT {names} FROM {origin}")
    statements = [f"USE {quoted(database)}", "SET foreign_key_checks = 0, unique_checks = 0"]
    text = connection.rows(_TEXT, (template,))
    if connection.rows(_TEXT, (database,)) != text:
        ((characters, collation),) = text
        place = quoted(database)
        statements.append(f"ALTER DATABASE {place} CHARACTER SET {characters} COLLATE {collation}")
    # 0 is a value of its own in an AUTO_INCREMENT column, not one to be made.
    statements.append("SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'")
    connection.send(";".join([*statements, *tables]))
    # What routines read is looked for when they are called; views need all that they read.
    for mode, statement in _programs(connection, template):
        connection.rows("SET sql_mode = %s", (mode,))
        connection.send(statement)
    for statement in _in_order(views):
        connection.send(statement)
    connection.send("SET unique_checks = 1")


def _programs(connection: Connection, template: str) -> list[tuple[str, str]]:
    """Return what makes the routines, triggers and events, each with the mode it was made in."""
    place = quoted(template)
    asked = [
        (f"SHOW CREATE {kind} {place}.{quoted(routine)}", 2)
        for kind, routine in connection.rows(_ROUTINES, (template,))
    ]
    asked += [
        (f"SHOW CREATE TRIGGER {place}.{quoted(trigger)}", 2)
        for (trigger,) in connection.rows(_TRIGGERS, (template,))
    ]
    asked += [
        (f"SHOW CREATE EVENT {place}.{quoted(event)}", 3)
        for (event,) in connection.rows(_EVENTS, (template,))
    ]
    told = [(connection.rows(query)[0], column) for query, column in asked]
    return [(row[1], row[column]) for row, column in told]


def _in_order(views: list[str]) -> list[str]:
    """Return views so that each comes after those that it reads: those have to be there."""
    name_of = {view: _view_name(view) for view in views}
    done: list[str] = []
    waiting = list(views)
    while waiting:
        names = {name_of[view] for view in waiting}
        ready = [v for v in waiting if not any(n in v for n in names - {name_of[v]})]
        done += ready or waiting
        waiting = [view for view in waiting if view not in done]
    return done


def _view_name(statement: str) -> str:
    return statement.partition(" VIEW ")[2].partition(" AS ")[0]


def _show(kind: str) -> str:
    return f"SHOW CREATE {kind if kind in {'VIEW', 'SEQUENCE'} else 'TABLE'}"


def _made(connection: Connection, query: str, column: int) -> str:
    return str(connection.rows(query)[0][column])
