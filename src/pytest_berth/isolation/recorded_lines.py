"""What a test has sent to its servers, for people: a line for each, without secrets."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from pytest_berth.isolation.recorder import CALL, Cut, Words
from pytest_berth.shown_values import MASK, is_secret, masked, shown, word

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_berth.isolation.application_lines import Line
    from pytest_berth.isolation.recorder import Record

_WIDEST = 160
_LONGEST_VALUE = 40
_LONGEST_PARAMETERS = 120
_LITERAL = re.compile(
    r"\b[eE]'(?:[^'\\]|\\.|'')*(?:'|$)|'(?:[^']|'')*(?:'|$)|\$(\w*)\$.*?(?:\$\1\$|$)", re.DOTALL
)


def lines(records: Sequence[Record], root: Path) -> list[str]:
    """Return a line for each record: when, how long, rows, from where, and what; `!` if it failed.

    Args:
        records: What was sent.
        root: Paths are shown relative to this directory.
    """
    connections = list(dict.fromkeys(each.connection for each in records if each.connection))
    names = {each: f"#{number}" for number, each in enumerate(connections, 1)}
    table = [
        (
            "!" if record.error else " ",
            "" if record.phase == CALL else record.phase,
            names.get(record.connection, "") if len(names) > 1 else "",
            f"{record.seconds * 1000:.1f} ms",
            _rows(record.rows),
            place(record.line, root),
        )
        for record in records
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        f"{_row(row, widths)}  {_what(record)}" for row, record in zip(table, records, strict=True)
    ]


def place(line: Line, root: Path) -> str:
    """Return file and line, relative to a directory where the file is in it."""
    if not line.path:
        return "-"
    inside = line.path.startswith(f"{root}{os.sep}")
    return f"{line.path[len(str(root)) + 1 :] if inside else line.path}:{line.number}"


def statement(record: Record, most: int = _WIDEST) -> str:
    """Return a statement on one line, cut; where it names a secret, without the texts in it."""
    text = " ".join(record.text.split())
    if is_secret(text):
        text = _LITERAL.sub(f"'{MASK}'", text)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _what(record: Record) -> str:
    gap = " " if isinstance(record.parameters, Words) else "  "
    parts = [gap.join(filter(None, (statement(record), parameters(record)))), answer(record)]
    if record.error:
        parts.append(f"-> {masked(record.error)[:_WIDEST]}")
    return "  ".join(filter(None, parts))


def parameters(record: Record) -> str:
    """Return the parameters; all are masked where they have no names, and the text names a secret.

    Which of them it is about could be told only by reading the SQL.
    """
    given: Any = record.parameters
    if given is None:
        return ""
    if isinstance(given, Words):
        return _words(record.text, given)
    if isinstance(given, dict):
        told = [f"{name}={_value(value, name)}" for name, value in given.items()]
    else:
        values = given if isinstance(given, list) else [given]
        hidden = "secret" if is_secret(record.text) else ""
        told = [_value(value, hidden) for value in values]
    text = ", ".join(told)
    cut = text if len(text) <= _LONGEST_PARAMETERS else f"{text[: _LONGEST_PARAMETERS - 3]}..."
    return f"[{cut}]"


def answer(record: Record) -> str:
    """Return what a command has returned, where that tells something; a secret is masked."""
    if record.answer is True or record.error:
        return ""
    if record.answer is None:
        return "-> nothing"
    names = [record.text, *map(_text, record.parameters or ())]
    may_tell = isinstance(record.answer, str | bytes | Cut) and any(map(is_secret, names))
    return f"-> {MASK if may_tell else _value(record.answer, '')}"


def _words(command: str, given: Words) -> str:
    """Return a command's arguments; of one behind a name that looks like a secret's, a mask."""
    told: list[str] = []
    name, hidden = command, is_secret(command)
    for value in given:
        shown_as = command if hidden else name
        begin, size = (value.beginning, value.size) if isinstance(value, Cut) else (value, None)
        told.append(word(begin, name=shown_as, most=_LONGEST_VALUE, size=size))
        name = _text(value)
    text = " ".join(told)
    return text if len(text) <= _LONGEST_PARAMETERS else f"{text[: _LONGEST_PARAMETERS - 3]}..."


def _text(value: object) -> str:
    if isinstance(value, Cut):
        value = value.beginning
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _value(value: object, name: str) -> str:
    if isinstance(value, Cut):
        return shown(value.beginning, name=name, most=_LONGEST_VALUE, size=value.size)
    return shown(value, name=name, most=_LONGEST_VALUE)


def _rows(rows: int | None) -> str:
    if rows is None:
        return ""
    return "1 row" if rows == 1 else f"{rows} rows"


def _row(row: Sequence[str], widths: Sequence[int]) -> str:
    mark, phase, connection, took, rows, place_ = row
    _, w_phase, w_connection, w_took, w_rows, w_place = widths
    parts = [
        mark,
        phase.ljust(w_phase),
        connection.ljust(w_connection),
        took.rjust(w_took),
        rows.rjust(w_rows),
        place_.ljust(w_place),
    ]
    return "  ".join(part for part in parts if part)
