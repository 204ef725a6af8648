"""Rows of what tests change, what becomes of it, and the page of the documentation they make."""

from __future__ import annotations

from dataclasses import dataclass

SERVERS = ("one worker", "several workers", "external")
# A letter of a row says what becomes of a change: in the order of SERVERS.
WORDS = {
    "b": "put back",
    "n": "put back, named",
    "t": "stays, named",
    "s": "stays",
    "r": "refused",
    "f": "put back, the test fails",
    "x": "stays, the test fails",
    "e": "ends with the commit",
    "l": "lasts until the test ends",
}


@dataclass(frozen=True)
class Row:
    """One change, and for each isolation a letter of WORDS for each of SERVERS."""

    does: str
    change: tuple[str, ...]
    probe: str
    outcomes: tuple[str, ...]
    undo: tuple[str, ...] = ()
    database: str = ""


@dataclass(frozen=True)
class Table:
    """The rows of one heading; there is one column for each isolation."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def markdown(table: Table) -> str:
    """Return the heading and the table as a page shows them."""
    head = ("A test does this", *table.columns)
    lines = [f"## {table.title}", "", _line(head), "|" + "---|" * len(head)]
    lines += [_line((row.does, *map(_cell, row.outcomes))) for row in table.rows]
    return "\n".join([*lines, ""])


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(letters: str) -> str:
    """Say what holds on the first server, and what is different on the others."""
    usual = letters[0]
    parts = [WORDS[usual]]
    for letter in dict.fromkeys(letters[1:]):
        if letter != usual:
            names = [name for name, each in zip(SERVERS, letters, strict=True) if each == letter]
            parts.append(f"{' and '.join(names)}: {WORDS[letter]}")
    return "; ".join(parts)
