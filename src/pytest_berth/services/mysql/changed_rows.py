"""Tells what a test has changed: rows by table, and the structure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.services.mysql.connections import quoted
from pytest_berth.shown_values import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from pytest_berth.services.mysql.connections import Ask
    from pytest_berth.services.mysql.contents import Contents, Rows

# Rows of each kind that are shown of a table; fewer where many tables were changed.
_FEW_TABLES = 3
_ROWS, _ROWS_OF_MANY = 3, 1
_NONE_DIFFERS = (
    "no row differs, but some were written: rolled back, deleted again, or not committed"
)


def lines(ask: Ask, contents: Contents, before: Mapping[str, Rows]) -> list[str]:
    """Return lines on what differs from what tables held.

    Args:
        ask: Sees what the test has written.
        contents: What tells which tables were written to.
        before: What each table held before the test.
    """
    tables = sorted(contents.written(ask) & before.keys())
    most = _ROWS if len(tables) <= _FEW_TABLES else _ROWS_OF_MANY
    told = [
        line
        for table in tables
        for line in _Comparison(ask, contents, table, before[table].copy).lines(most)
    ]
    altered = contents.altered(ask)
    return [*told, *([f"schema: {', '.join(altered)}"] if altered else [])]


class _Comparison:
    def __init__(self, ask: Ask, contents: Contents, table: str, copy: str) -> None:
        self._ask = ask
        self._table = table
        self._copy = copy
        self._columns = contents.columns(table)
        self._keys = [quoted(key) for key in contents.keys(table)]

    def lines(self, most: int) -> list[str]:
        """Return a heading, and the first rows of each kind."""
        if self._copy and not self._keys:
            return self._without_key()
        kinds = [("added", "+", self._joined("t", "c"))]
        if self._copy:
            differs = f"{quoted(self._table)} t JOIN {self._copy} c ON {self._same_key}"
            kinds.append(("changed", "~", f"{differs} WHERE NOT ({self._equal})"))
            kinds.append(("deleted", "-", self._joined("c", "t")))
        counts, rows = list[str](), list[str]()
        for kind, sign, origin in kinds:
            ((count,),) = self._ask(f"SELECT COUNT(*) FROM {origin}")
            if count:
                counts.append(f"{count} {kind}")
                rows += [f"  {sign} {each}" for each in self._rows(sign, origin, most)]
                rows += [f"    and {count - most} more"] if count > most else []
        return [f"{self._table}: {', '.join(counts) or _NONE_DIFFERS}", *rows]

    def _without_key(self) -> list[str]:
        places = quoted(self._table), self._copy
        now, before = (self._ask(f"SELECT COUNT(*) FROM {each}")[0][0] for each in places)
        return [f"{self._table}: {now} rows, there were {before} (it has no primary key)"]

    def _joined(self, one: str, other: str) -> str:
        """Return the rows of one table whose key the other one does not have."""
        if not self._copy:
            return f"{quoted(self._table)} t"
        places = {"t": quoted(self._table), "c": self._copy}
        return (
            f"{places[one]} {one} LEFT JOIN {places[other]} {other} ON {self._same_key}"
            f" WHERE {other}.{self._keys[0]} IS NULL"
        )

    @property
    def _same_key(self) -> str:
        return " AND ".join(f"t.{key} = c.{key}" for key in self._keys)

    @property
    def _equal(self) -> str:
        return " AND ".join(
            f"BINARY t.{each} <=> BINARY c.{each}" for each in map(quoted, self._columns)
        )

    def _rows(self, sign: str, origin: str, most: int) -> Iterator[str]:
        sides = {"+": "t", "-": "c", "~": "tc"}[sign]
        names = [f"{side}.{quoted(each)}" for side in sides for each in self._columns]
        for row in self._ask(f"SELECT {', '.join(names)} FROM {origin} LIMIT {most}"):
            size = len(self._columns)
            yield self._changed(row[size:], row[:size]) if sign == "~" else self._row(row)

    def _row(self, values: Sequence[Any]) -> str:
        return row(self._columns, values)

    def _changed(self, before: Sequence[Any], now: Sequence[Any]) -> str:
        pairs = list(zip(self._columns, before, now, strict=True))
        who = ", ".join(f"{n}={value(v, n)}" for n, _, v in pairs if quoted(n) in self._keys)
        what = [f"{n} {value(old, n)} -> {value(v, n)}" for n, old, v in pairs if old != v]
        return f"{who}: {'; '.join(what)}"


def row(columns: Sequence[str], values: Sequence[Any]) -> str:
    """Return ``id=1, email='a@example.com'``; secrets are masked."""
    return ", ".join(f"{n}={value(v, n)}" for n, v in zip(columns, values, strict=True))


def value(found: Any, column: str) -> str:
    """Return a value for people; that of a column which may be a secret is masked."""
    if found is None:
        return "NULL"
    plain = isinstance(found, (int, float, str, bytes))
    return shown(found if plain else str(found), name=column, most=60)
