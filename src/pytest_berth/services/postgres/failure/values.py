"""Shows rows in a report: on one line, long values cut, secrets masked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_berth.shown_values import MASK, is_secret, masked

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# Characters that are fetched of a value, and those that are shown of it.
FETCHED = 200
_SHOWN = 60
_LATER = f"differs after the first {FETCHED} characters"
WITH_ZONE = "timestamp with time zone"
_WITHOUT_ZONE = "timestamp without time zone"
_BARE = frozenset({"smallint", "integer", "bigint", "numeric", "real", "double precision"})
# In tables, these belong to passwords.
_HASH = re.compile(r"(?<![a-z])(?:hash|salt)(?![a-z])", re.IGNORECASE)
_IN_URL = re.compile(r"(://[^:/@\s]*):[^@\s]*@")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: Its name.
        kind: Its type, as PostgreSQL calls it.
        in_key: Whether it is part of the primary key.
    """

    name: str
    kind: str = ""
    in_key: bool = False

    @property
    def is_secret(self) -> bool:
        """Whether its name says that nobody may read its values."""
        return is_secret(self.name) or _HASH.search(self.name) is not None

    def shown(self, value: str | None) -> str:
        """Return a value for a report."""
        if value is None:
            return "NULL"
        if self.is_secret:
            return MASK
        value = _IN_URL.sub(rf"\1:{MASK}@", masked(value))
        if self.kind in _BARE:
            return value
        if self.kind == "boolean":
            return {"t": "true", "f": "false"}.get(value, value)
        zone = " (without time zone)" if self.kind == _WITHOUT_ZONE else ""
        return f"{quoted(value)}{zone}"


def quoted(value: str) -> str:
    """Return a text in quotes, on one line, cut where it is long."""
    line = value.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    line = "".join(each if each.isprintable() else "?" for each in line)
    return f"'{line}'" if len(line) <= _SHOWN else f"'{line[:_SHOWN]}...'"


def row(columns: Sequence[Column], values: Sequence[str | None]) -> str:
    """Return ``id=1, email='a@example.com'``."""
    return ", ".join(
        f"{column.name}={column.shown(value)}"
        for column, value in zip(columns, values, strict=True)
    )


def changed(
    columns: Sequence[Column], before: Sequence[str | None], now: Sequence[str | None]
) -> str:
    """Return ``id=1: email 'a@example.com' -> 'b@example.com'``."""
    pairs = list(zip(columns, before, now, strict=True))
    key = [(column, new) for column, _, new in pairs if column.in_key]
    differing = [
        f"{column.name} {column.shown(old)} -> {column.shown(new)}"
        for column, old, new in pairs
        if old != new
    ]
    who = row([column for column, _ in key], [value for _, value in key])
    return f"{who}: {'; '.join(differing) or _LATER}"


def counted(number: int, most: int) -> str:
    """Return a number of rows of which no more than *most* were looked for."""
    return f"at least {most}" if number > most else str(number)


def joined(parts: Iterable[str], most: int) -> str:
    """Return the first parts, and how many there are more."""
    found = list(parts)
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more
