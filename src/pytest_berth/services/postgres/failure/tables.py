"""What a report says of one table: rows before and now, paired by the primary key."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.failure import values
from pytest_berth.services.postgres.failure.values import FETCHED, WITH_ZONE, Column

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from pytest_berth.services.postgres.failure.asking import Asking, Row

# Rows that are looked for in a table, of either kind.
MOST = 1000
_COLUMNS = """
SELECT c.oid::text, n.nspname::text, c.relname::text, a.attname::text,
    pg_catalog.format_type(a.atttypid, NULL), coalesce(a.attnum = ANY (i.indkey), false)::text
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_catalog.pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE c.oid = ANY ({oids}::oid[])
ORDER BY c.oid, a.attnum
"""


@dataclass(frozen=True)
class Table:
    """A table, as it is now."""

    oid: int
    schema: str
    name: str
    columns: tuple[Column, ...]

    @property
    def identifier(self) -> sql.Identifier:
        """The quoted, qualified name."""
        return sql.Identifier(self.schema, self.name)

    @property
    def fetched(self) -> sql.Composed:
        """The select list: each column as a text that is not too long."""
        return sql.SQL(", ").join(
            sql.SQL("left({}::text, {})").format(sql.Identifier(column.name), sql.Literal(FETCHED))
            for column in self.columns
        )

    @property
    def ordered(self) -> sql.Composed:
        """The clause that orders rows by the key, so that old and new versions are found first."""
        key = [sql.Identifier(column.name) for column in self.columns if column.in_key]
        order = sql.SQL(" ORDER BY {}") if key else sql.SQL("")
        return order.format(sql.SQL(", ").join(key))

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Change:
    """What has become of a table.

    Attributes:
        table: The table.
        new: Rows that were not there before, at most one more than `MOST`.
        gone: Rows that are no longer there, likewise.
        told: What else there is to say.
    """

    table: Table
    new: Sequence[Row] = ()
    gone: Sequence[Row] = ()
    told: str = ""

    def lines(self, most: int) -> list[str]:
        """Return a heading, and the first rows of each kind."""
        added, changed, deleted = self._paired()
        columns = self.table.columns
        if self._is_cut:
            # What has no counterpart among the first rows may have one among the others.
            added, deleted = [], []
            counts = [
                f"{values.counted(len(self.new), MOST)} rows written",
                f"{values.counted(len(self.gone), MOST)} of the old ones changed or deleted",
            ]
        else:
            counts = [
                f"{values.counted(len(rows), MOST)} {kind}"
                for rows, kind in ((added, "added"), (changed, "changed"), (deleted, "deleted"))
                if rows
            ]
        if self.told:
            counts.append(self.told)
        if not counts:
            return []
        return [
            f"{self.table}: {', '.join(counts)}",
            *_first([f"  + {values.row(columns, each)}" for each in added], most),
            *_first([f"  ~ {values.changed(columns, *each)}" for each in changed], most),
            *_first([f"  - {values.row(columns, each)}" for each in deleted], most),
        ]

    @property
    def has_times(self) -> bool:
        """Whether there are instants among the values."""
        return any(column.kind == WITH_ZONE for column in self.table.columns)

    @property
    def _is_cut(self) -> bool:
        """Whether rows were left out that may be the old, or new, versions of others."""
        return max(len(self.new), len(self.gone)) > MOST and bool(self.new and self.gone)

    def _paired(self) -> tuple[list[Row], list[tuple[Row, Row]], list[Row]]:
        """Return the added rows, the changed ones before and now, and the deleted ones.

        Left out is what was written again as it was, and what only seems to be new: where others
        write on the server, the time of a baseline is known by their oldest transaction.
        """
        again = Counter(self.new) & Counter(self.gone)
        new, gone = _without(self.new, again), _without(self.gone, again)
        key = [number for number, column in enumerate(self.table.columns) if column.in_key]
        if not key:
            return new, [], gone
        now, before = ({tuple(row[n] for n in key): row for row in rows} for rows in (new, gone))
        return (
            [row for of, row in now.items() if of not in before],
            [(before[of], row) for of, row in now.items() if of in before],
            [row for of, row in before.items() if of not in now],
        )


def read(asking: Asking, oids: Iterable[int]) -> Mapping[int, Table]:
    """Return tables by their ids."""
    found: dict[int, list[Row]] = {}
    query = sql.SQL(_COLUMNS).format(oids=sql.Literal(f"{{{','.join(map(str, oids))}}}"))
    for row in asking(query):
        found.setdefault(int(row[0] or 0), []).append(row)
    return {
        oid: Table(
            oid,
            rows[0][1] or "",
            rows[0][2] or "",
            tuple(
                Column(row[3] or "", row[4] or "", (row[5] or "") in {"t", "true"}) for row in rows
            ),
        )
        for oid, rows in found.items()
    }


def _first(lines: Sequence[str], most: int) -> list[str]:
    more = [f"    and {len(lines) - most} more"] if len(lines) > most else []
    return [*lines[:most], *more]


def _without(rows: Sequence[Row], left_out: Mapping[Row, int]) -> list[Row]:
    """Return rows but for as many of each as are left out; values that are cut may differ."""
    left, found = Counter(left_out), []
    for row in rows:
        if left[row] > 0 and all(len(value or "") < FETCHED for value in row):
            left[row] -= 1
        else:
            found.append(row)
    return found
