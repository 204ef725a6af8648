"""Finds what a test has sent many times: statements of one shape, from one line.

Of one shape are statements that differ only in their values.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pytest_berth.isolation.recorder import MANY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.isolation.application_lines import Line
    from pytest_berth.isolation.recorder import Record

_VALUES = re.compile(r"'(?:[^']|'')*'|(?<![\w$])\d+(?:\.\d+)?\b")
_LISTS = re.compile(r"\(\s*(?:\?|%s|\$\d+|%\(\w+\)s)(?:::[\w\" .]+)?(?:\s*,[^()]*)?\)")
_READS = ("SELECT", "WITH")


class Repeated(NamedTuple):
    """Statements of one shape that were sent from one line.

    Attributes:
        line: The line.
        records: What was sent from there, in this order.
    """

    line: Line
    records: Sequence[Record]


def find(records: Sequence[Record], more_than: int = 1) -> list[Repeated]:
    """Return what is repeated more often than that, most often first."""
    by_line: dict[Line, list[Record]] = {}
    for record in records:
        by_line.setdefault(record.line, []).append(record)
    found = [
        Repeated(line, alike)
        for line, sent in by_line.items()
        if len(sent) > more_than
        for alike in _by_shape(sent)
        if len(alike) > more_than
    ]
    return sorted(found, key=lambda each: -len(each.records))


def one_for_each(records: Sequence[Record]) -> list[Repeated]:
    """Return what looks like one query for each of many objects, in place of one for all.

    What waits for something asks again and again, too, but for the same. And what writes in
    between does one thing after the other, each with a question of its own.
    """
    found: list[Repeated] = []
    reads: list[Record] = []
    for record in (*records, None):
        if record and record.text.lstrip(" \n\t(").upper().startswith(_READS):
            reads.append(record)
        else:
            if len(reads) > MANY:
                found += find(reads, MANY)
            reads = []
    return [
        each
        for each in found
        if len({(sent.text, repr(sent.parameters)) for sent in each.records}) > MANY
    ]


def shape(text: str) -> str:
    """Return a statement without what differs from one of its kind to the next."""
    without = _VALUES.sub("?", " ".join(text.split()))
    return _LISTS.sub("(...)", without)


def _by_shape(records: Sequence[Record]) -> list[list[Record]]:
    shapes: dict[str, list[Record]] = {}
    # The texts of most are the same: each is looked at once.
    known: dict[str, str] = {}
    for record in records:
        text = record.text
        if text not in known:
            known[text] = shape(text)
        shapes.setdefault(known[text], []).append(record)
    return list(shapes.values())
