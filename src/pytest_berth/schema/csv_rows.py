"""Reads CSV files as PostgreSQL's COPY does, for servers that have no such command.

An empty value is None, and ``""`` an empty text: Python's own reader takes them for the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FIELD = re.compile(
    r'"(?P<quoted>(?:[^"]|"")*)"(?P<rest>[^,\r\n]*)|(?P<plain>[^,\r\n]*)', re.DOTALL
)
_LINE_END = re.compile(r"\r\n|\n|\r")
_END = re.compile(rf"(?P<comma>,)|{_LINE_END.pattern}|\Z")


def rows(text: str) -> Iterator[tuple[int, list[str | None]]]:
    """Yield the rows of a file, its header first, each with the number of its first line, from 1.

    An empty line is a row with one value, which is None.
    """
    position, line = 0, 1
    while position < len(text):
        row: list[str | None] = []
        begin, more = position, True
        while more:
            field = _matched(_FIELD, text, position)
            row.append(_value(field))
            end = _matched(_END, text, field.end())
            position, more = end.end(), bool(end["comma"])
        yield line, row
        line += len(_LINE_END.findall(text, begin, position))


def _matched(pattern: re.Pattern[str], text: str, position: int) -> re.Match[str]:
    found = pattern.match(text, position)
    assert found, "a value may be empty, and ends at a comma, a line's end or the text's"
    return found


def _value(field: re.Match[str]) -> str | None:
    if field["quoted"] is None:
        return field["plain"] or None
    return field["quoted"].replace('""', '"') + field["rest"]
