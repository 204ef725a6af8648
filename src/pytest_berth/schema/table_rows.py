"""Rows for a table, and what all kinds of servers have in common when these are written."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, TypeVar

from pytest_berth.errors import SchemaError
from pytest_berth.schema.steps import suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from pathlib import Path
    from typing import TypeAlias

    Row: TypeAlias = Mapping[str, object]

T = TypeVar("T")
K = TypeVar("K")


@dataclass(frozen=True)
class Table:
    """Rows for a table.

    Attributes:
        source: The file, or whatever else they come from, for messages.
        name: The table's, with its schema's where that is another than the search path's.
        columns: Those that the rows have values for.
        path: The CSV file that has them; None where they are in `rows`.
        rows: Each a mapping from columns to values.
    """

    source: str
    name: str
    columns: tuple[str, ...]
    path: Path | None = None
    rows: Sequence[Mapping[str, object]] = field(default=(), repr=False)


def as_json(value: object) -> str:
    """Return a value as JSON, from which the server makes what the column's type is."""
    return json.dumps(value, default=_plain)


def _plain(value: object) -> str:
    return rf"\x{value.hex()}" if isinstance(value, bytes) else str(value)


def alike(
    rows: Iterable[Mapping[str, object]],
) -> dict[tuple[str, ...], list[Mapping[str, object]]]:
    """Return rows by the columns that they have values for: others have their defaults."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(tuple(row), []).append(row)
    return found


def in_order(
    tables: Sequence[T], refers: Mapping[K, AbstractSet[K]], key: Callable[[T], K]
) -> Sequence[T]:
    """Return tables such that each comes after those that it refers to; else as they are given.

    Args:
        tables: The tables.
        refers: By the key of each, the keys of those that it refers to.
        key: Returns a table's key.
    """
    try:
        order = [*TopologicalSorter(refers).static_order()]
    except CycleError:
        return tables
    return sorted(tables, key=lambda each: order.index(key(each)))


def no_table(rows: Table, there: Iterable[str], why: str, prefix: str) -> SchemaError:
    """Return the error that there is no such table.

    Args:
        rows: What is for it.
        there: Names of the tables that there are.
        why: How a file is called.
        prefix: What the settings of the service begin with.
    """
    return SchemaError(
        f"{rows.source} is for the table {rows.name!r}, which there is not.",
        why=why,
        remedy=suggest(rows.name, there, f"let berth_{prefix}_schema make it before"),
    )


def require_columns(rows: Table, there: Iterable[str]) -> None:
    """Look whether a table has the columns that rows have values for.

    Raises:
        SchemaError: It lacks one.
    """
    known = [*there]
    for column in rows.columns:
        if column not in known:
            raise SchemaError(
                f"{rows.source} has the column {column!r}, which {rows.name!r} has not.",
                remedy=suggest(column, known, "name columns of the table"),
            )
