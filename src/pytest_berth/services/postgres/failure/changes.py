"""Tells what a test has changed: rows by table, sequences, the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from pytest_berth.services.postgres.failure import asking, compared, rolled_back
from pytest_berth.services.postgres.failure.asking import NoAnswerError
from pytest_berth.services.postgres.failure.values import joined
from pytest_berth.services.postgres.restore import schema_fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_berth.services.postgres.databases.worker_database import Held, IsolatedDatabase
    from pytest_berth.services.postgres.failure.tables import Change

# Rows of each kind that are shown of a table; fewer where many tables were changed.
_FEW_TABLES = 3
_ROWS, _ROWS_OF_MANY = 3, 1
_OBJECTS = 5
_SEQUENCES = 5
_ONLY_SEQUENCES = (
    "no row differs, but sequences have moved: rows were inserted, and then rolled back, deleted,"
    " or not committed"
)


def of(databases: Sequence[IsolatedDatabase]) -> list[str]:
    """Return lines on what a test has changed in a worker's databases.

    Args:
        databases: The worker's, the one without a name first.
    """
    found: list[tuple[str, list[str]]] = []
    for database in databases:
        if database.rolled_back:
            found.append((database.name or database.database, _in_transaction(database)))
        found += [(database.name or held.database, _since_baseline(held)) for held in database.held]
    told = [(name, lines) for name, lines in found if lines]
    if len(found) == 1:
        return [line for _, lines in told for line in lines]
    return [line for name, lines in told for line in (f"in the database {name}:", *lines)]


def _in_transaction(database: IsolatedDatabase) -> list[str]:
    outer = database.rolled_back
    assert outer, "a rolled-back test runs"
    try:
        with (
            asking.connected(database.server, database.database) as connection,
            asking.on(connection) as outside,
        ):
            listing = schema_fingerprint.listing(connection)
            with asking.in_test(outer) as inside:
                changes = rolled_back.find(inside, outside)
                wrote = rolled_back.wrote_catalogs(inside)
                return _lines(
                    changes,
                    lambda: rolled_back.schema(inside, outside, listing) if wrote else [],
                    lambda: rolled_back.sequences(inside, database.sequences),
                )
    except NoAnswerError as error:
        return [str(error)]


def _since_baseline(held: Held) -> list[str]:
    if not held.connection.backend:
        return []
    baseline, connection = held.baseline, held.connection.psycopg
    try:
        with asking.on(connection) as inside:
            return _lines(
                compared.find(inside, baseline),
                lambda: compared.schema(inside, baseline, connection),
                lambda: compared.sequences(inside, baseline),
            )
    except NoAnswerError as error:
        return [str(error)]


def _lines(
    changes: Sequence[Change],
    schema: Callable[[], Sequence[str]],
    sequences: Callable[[], Sequence[str]],
) -> list[str]:
    most = _ROWS if len(changes) <= _FEW_TABLES else _ROWS_OF_MANY
    lines = [line for change in changes for line in change.lines(most)]
    if any(change.has_times and change.lines(1) for change in changes):
        lines.append("times with a zone are shown in UTC")
    moved, altered = _parts(sequences), _without_parts(_parts(schema))
    if altered:
        lines.append(f"schema: {joined(altered, _OBJECTS)}")
    if moved:
        if not lines:
            lines.append(_ONLY_SEQUENCES)
        lines.append(f"sequences: {joined(moved, _SEQUENCES)}")
    return lines


def _parts(ask: Callable[[], Sequence[str]]) -> Sequence[str]:
    try:
        return ask()
    except (NoAnswerError, psycopg.Error) as error:
        return [f"cannot be told ({str(error).strip()})"]


def _without_parts(differences: Sequence[str]) -> list[str]:
    """Leave out what goes with a new, or dropped, table: its columns, types, constraints."""
    tables = [
        name.split(" was ")[0].removeprefix("table ")
        for name in differences
        if name.startswith("table ") and not name.endswith(" was altered")
    ]
    ends = tuple(f" {name}{more}" for name in tables for more in ("", "[]"))
    return [
        each
        for each in differences
        if each.startswith("table ") or not each.rpartition(" was ")[0].endswith(ends)
    ]
