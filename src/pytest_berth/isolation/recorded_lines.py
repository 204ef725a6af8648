"""What a test has sent to its servers, for people: a line for each, without secrets."""

from __future__ import annotations

import os
import re
from itertools import groupby
from typing import TYPE_CHECKING, Any

from pytest_berth.isolation.recorder import CALL, Cut
from pytest_berth.isolation.statement_hooks import DIALECTS
from pytest_berth.shown_values import MASK, is_secret, masked, shown, word

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pytest_berth.isolation.application_lines import Line
    from pytest_berth.isolation.recorder import Record

_OF_STATEMENTS = frozenset(DIALECTS.values())
_WIDEST = 160
_LONGEST_VALUE = 40
_LONGEST_PARAMETERS = 120
_COLUMNS = re.compile(r"^(SELECT [^,()]+,) .*? FROM ")
# In a row, for one line to stand for them.
_FEWEST = 3
_LITERAL = re.compile(
    r"\b[eE]'(?:[^'\\]|\\.|'')*(?:'|$)|'(?:[^']|'')*(?:'|$)|\$(\w*)\$.*?(?:\$\1\$|$)", re.DOTALL
)


def lines(records: Sequence[Record], root: Path, most: int = 0) -> list[str]:
    """Return a line for each record: when, how long, rows, from where, and what; `!` if it failed.

    One stands for several in a row that differ in their parameters only.

    Args:
        records: What was sent.
        root: Paths are shown relative to this directory.
        most: How many lines to return, the last ones; 0 for all.
    """
    runs = list(_runs(records))
    last = runs[len(runs) - most + 1 :] if most and len(runs) > most else runs
    connections = list(dict.fromkeys(each.connection for each in records if each.connection))
    names = {each: f"#{number}" for number, each in enumerate(connections, 1)}
    table = [
        (
            "!" if run[0].error else " ",
            "" if run[0].phase == CALL else run[0].phase,
            names.get(run[0].connection, "") if len(names) > 1 else "",
            f"{sum(each.seconds for each in run) * 1000:.1f} ms",
            _rows([each.rows for each in run]),
            place(run[0].line, root),
        )
        for run in last
    ]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    told = [f"{_row(row, widths)}  {_what(run)}" for row, run in zip(table, last, strict=True)]
    left = sum(map(len, runs[: len(runs) - len(last)]))
    return [f"... {left} before (berth_report_lines = {most})", *told] if left else told


def place(line: Line, root: Path) -> str:
    """Return file and line, relative to a directory where the file is in it."""
    if not line.path:
        return "-"
    inside = line.path.startswith(f"{root}{os.sep}")
    return f"{line.path[len(str(root)) + 1 :] if inside else line.path}:{line.number}"


def without_texts(statement: str) -> str:
    """Return a statement as it is; where it names a secret, without the texts in it."""
    return _LITERAL.sub(f"'{MASK}'", statement) if is_secret(statement) else statement


def statement(record: Record, most: int = _WIDEST) -> str:
    """Return a statement on one line, cut; where it names a secret, without the texts in it.

    Of many columns the first one is shown: of more interest is where they come from.
    """
    text = without_texts(" ".join(record.text.split()))
    if len(text) > most:
        text = _COLUMNS.sub(r"\1 ... FROM ", text, count=1)
    return text if len(text) <= most else f"{text[: most - 3]}..."


def _runs(records: Sequence[Record]) -> Iterator[Sequence[Record]]:
    """Yield the records, together those in a row of which one line tells enough.

    Of statements it does, as these tell more than their parameters.
    """

    def key(record: Record) -> tuple[object, ...]:
        alone = id(record) if record.error or record.service not in _OF_STATEMENTS else 0
        return record.line, record.text, record.phase, record.connection, alone

    for _, alike in groupby(records, key):
        run = list(alike)
        if len(run) < _FEWEST:
            yield from ([each] for each in run)
        else:
            yield run


def _what(run: Sequence[Record]) -> str:
    first = run[0]
    gap = " " if isinstance(first.parameters, tuple) else "  "
    parts = [gap.join(filter(None, (statement(first), parameters(first)))), answer(first)]
    if first.error:
        parts.append(f"-> {masked(first.error)[:_WIDEST]}")
    if len(run) > 1:
        parts.append(f"({len(run)} times in a row)")
    return "  ".join(filter(None, parts))


def parameters(record: Record) -> str:
    """Return the parameters; all are masked where they have no names, and the text names a secret.

    Which of them it is about could be told only by reading the SQL.
    """
    given: Any = record.parameters
    if given is None:
        return ""
    if isinstance(given, tuple):
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


def _words(command: str, given: Sequence[Any]) -> str:
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


def _rows(numbers: Sequence[int | None]) -> str:
    known = [number for number in numbers if number is not None]
    if not known:
        return ""
    return "1 row" if sum(known) == 1 else f"{sum(known)} rows"


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
