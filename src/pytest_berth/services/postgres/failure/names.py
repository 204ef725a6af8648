"""Explains a name that does not exist: the nearest ones, the search path, what made the schema."""

from __future__ import annotations

import re
from difflib import get_close_matches
from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.failure.asking import NoAnswerError
from pytest_berth.services.postgres.failure.constraints import view
from pytest_berth.services.postgres.failure.values import joined
from pytest_berth.services.postgres.options import ALEMBIC_DRIFT, SCHEMA

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.services.postgres.databases.worker_database import IsolatedDatabase
    from pytest_berth.services.postgres.failure.asking import Asking
    from pytest_berth.services.postgres.failure.server_error import ServerError

_MOST = 12
_NEAREST = 3
_OURS = "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
_RELATIONS = f"""
SELECT n.nspname, c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND {_OURS} ORDER BY 1, 2
"""
_COLUMNS = f"""
SELECT n.nspname, c.relname, a.attname FROM pg_catalog.pg_attribute a
JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE a.attnum > 0 AND NOT a.attisdropped AND {_OURS} ORDER BY 1, 2, a.attnum
"""
_FUNCTIONS = f"""
SELECT n.nspname, p.proname,
    p.proname || '(' || pg_catalog.pg_get_function_identity_arguments(p.oid) || ')'
FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace
WHERE {_OURS} OR n.nspname = 'pg_catalog'
"""
_TYPES = f"""
SELECT n.nspname, t.typname FROM pg_catalog.pg_type t
JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype IN ('b', 'd', 'e', 'r') AND t.typelem = 0 AND {_OURS}
"""
_SCHEMAS = f"SELECT n.nspname FROM pg_catalog.pg_namespace n WHERE {_OURS}"
_EXTENSION = """
SELECT name FROM pg_catalog.pg_available_extensions
WHERE name = {name} AND installed_version IS NULL
"""
_SEARCH_PATH = "SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'search_path'"
_VERSIONS = """
SELECT n.nspname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.relname = 'alembic_version'
"""
_QUOTED = re.compile(r'"([^"]+)"')
_COLUMN = re.compile(r'"?([\w$]+)"?\s+(?:of relation "([^"]+)"\s+)?does not exist')
_FUNCTION = re.compile(r"function ([\w$.\"]+)\(")
# Where Alembic's settings are looked for that no line of the schema names.
_ALEMBIC = "alembic.ini"


def of_relation(database: IsolatedDatabase, error: ServerError) -> list[str]:
    """Return the nearest relations, and what has made the schema."""
    wanted = _first_quoted(error.message)
    if not wanted:
        return []
    with view(database) as seen:
        there = [(schema or "", name or "") for schema, name in seen.asking(_RELATIONS)]
        told = _elsewhere(seen.asking, wanted, there)
        if not told:
            told = _near(wanted, [f"{schema}.{name}" for schema, name in there])
        if not there:
            told = ["the database has no table at all"]
        elif not told:
            told = [f"there are: {joined((f'{schema}.{name}' for schema, name in there), _MOST)}"]
        return told + _made_by(database, seen.asking, wanted.rpartition(".")[2])


def of_column(database: IsolatedDatabase, error: ServerError) -> list[str]:
    """Return the nearest columns of the tables that the statement names, and their others."""
    match = _COLUMN.search(error.message)
    if not match:
        return []
    column, relation = match[1], match[2] or ""
    with view(database) as seen:
        by_table: dict[str, list[str]] = {}
        names: dict[str, str] = {}
        for schema, table, name in seen.asking(_COLUMNS):
            by_table.setdefault(f"{schema}.{table}", []).append(name or "")
            names[f"{schema}.{table}"] = table or ""
        text = relation or error.statement
        meant = [full for full, name in names.items() if re.search(rf"\b{re.escape(name)}\b", text)]
        searched = {full: by_table[full] for full in (meant or by_table)}
        told = _near(
            column, [f"{full}.{name}" for full, found in searched.items() for name in found]
        )
        told += [f"{full} has: {joined(by_table[full], _MOST)}" for full in meant[:_NEAREST]]
        return told + _made_by(database, seen.asking)


def of_function(database: IsolatedDatabase, error: ServerError) -> list[str]:
    """Return functions of that name with other arguments, or the nearest names."""
    match = _FUNCTION.search(error.message)
    if not match:
        return []
    wanted = match[1].replace('"', "").rpartition(".")[2]
    with view(database) as seen:
        found = [
            (schema or "", name or "", text or "") for schema, name, text in seen.asking(_FUNCTIONS)
        ]
        alike = [f"{schema}.{text}" for schema, name, text in found if name == wanted]
        if alike:
            return [f"with other arguments, or in another schema: {joined(alike, _NEAREST)}"]
        told = _near(wanted, sorted({f"{schema}.{name}" for schema, name, _ in found}))
        return told + _made_by(database, seen.asking)


def of_type(database: IsolatedDatabase, error: ServerError) -> list[str]:
    """Return the nearest types, or the extension that brings it."""
    wanted = _first_quoted(error.message)
    if not wanted or "type" not in error.message:
        return []
    with view(database) as seen:
        there = [(schema or "", name or "") for schema, name in seen.asking(_TYPES)]
        told = _elsewhere(seen.asking, wanted, there)
        told = told or _near(wanted, [f"{schema}.{name}" for schema, name in there])
        if seen.asking(sql.SQL(_EXTENSION).format(name=sql.Literal(wanted))):
            told.append(f"an extension of that name can be had: CREATE EXTENSION {wanted}")
        return told + _made_by(database, seen.asking)


def of_schema(database: IsolatedDatabase, error: ServerError) -> list[str]:
    """Return the schemas that there are."""
    with view(database) as seen:
        there = [schema or "" for (schema,) in seen.asking(_SCHEMAS)]
        told = [f"there are the schemas {joined(there, _MOST)}"]
        return told + _made_by(database, seen.asking)


def _elsewhere(ask: Asking, wanted: str, there: Sequence[tuple[str, str]]) -> list[str]:
    """Tell where something of exactly this name is, in another schema."""
    name = wanted.rpartition(".")[2]
    found = [f"{schema}.{each}" for schema, each in there if each == name]
    if not found:
        return []
    ((path,),) = ask(_SEARCH_PATH)
    return [f"there is {joined(found, _NEAREST)}; new connections look in: {path} (search_path)"]


def _near(wanted: str, there: Sequence[str]) -> list[str]:
    """Return the names whose last part is nearest, upper and lower case alike."""
    last = wanted.rpartition(".")[2].lower()
    by_last: dict[str, list[str]] = {}
    for name in there:
        by_last.setdefault(name.rpartition(".")[2].lower(), []).append(name)
    matches = get_close_matches(last, by_last, n=_NEAREST, cutoff=0.6)
    names = [name for match in matches for name in by_last[match]]
    return [f"the nearest: {joined(names, _NEAREST)}"] if names else []


def _made_by(database: IsolatedDatabase, ask: Asking, table: str = "") -> list[str]:
    """Tell what has made the schema, and how far its migrations have come."""
    lines = [step.line for step in database.steps]
    if not lines:
        told = [f"nothing has made a schema: {SCHEMA.name} is not set"]
    else:
        told = [f"the database was made by: {joined(lines, _MOST)}"]
    told += [
        f"{step.line} has the table {table} by now: its module was not imported when the schema"
        " was made"
        for step in database.steps
        if table and table in {name.rpartition(".")[2] for name in step.tables}
    ]
    by_alembic = [line for line in lines if line.startswith("alembic:")]
    revisions = _revisions(ask)
    if by_alembic:
        told.append(
            f"alembic: at {joined(revisions, _NEAREST) or 'no revision'}, the head of its"
            " migrations: what none of them makes is not there (alembic revision --autogenerate;"
            f" {ALEMBIC_DRIFT.name} = error tells such a difference at the start)"
        )
    elif (database.berth.settings.root / _ALEMBIC).is_file():
        told.append(
            f"{_ALEMBIC} is there, but its migrations were not run: {SCHEMA.name} = alembic:"
            f" {_ALEMBIC}"
        )
    return told


def _revisions(ask: Asking) -> list[str]:
    try:
        schemas = [schema or "" for (schema,) in ask(_VERSIONS)]
        query = sql.SQL("SELECT version_num::text FROM {}")
        return [
            revision or ""
            for schema in schemas
            for (revision,) in ask(query.format(sql.Identifier(schema, "alembic_version")))
        ]
    except NoAnswerError:
        return []


def _first_quoted(message: str) -> str:
    match = _QUOTED.search(message)
    return match[1] if match else ""
