"""Tells of a test that sends one query for each of many objects, where one would do for all."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_berth.isolation import recorded_lines, recorder, repeated_statements
from pytest_berth.isolation.recorder import CALL
from pytest_berth.isolation.statement_hooks import SERVICE
from pytest_berth.run.plugin_state import PLUGIN_STATE

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_berth.isolation.repeated_statements import Repeated

TITLE = "postgres: one query for each object"
# What the summary has been told by this process: many tests go through one line.
_TOLD = pytest.StashKey[set[str]]()


def tell(item: pytest.Item, report: pytest.TestReport) -> None:
    """Add to the report of a test that has failed, and to the summary for any."""
    config = item.config
    found = recorder.of(config)
    records = found.records(SERVICE, CALL) if found else []
    for repeated in repeated_statements.one_for_each(records):
        if report.failed:
            report.sections.append((TITLE, _explained(repeated, config.rootpath)))
        hint = _hint(repeated, config.rootpath)
        told = config.stash.setdefault(_TOLD, set())
        if hint not in told:
            told.add(hint)
            config.stash[PLUGIN_STATE].hint(hint)


def _explained(repeated: Repeated, root: Path) -> str:
    line, records = repeated
    first = recorded_lines.statement(records[0])
    why = "the statements differ in their values only"
    if line.relationship:
        why = f"{line.relationship} is loaded as it is read, for one object at a time"
    return (
        f"{len(records)} times from {recorded_lines.place(line, root)}: {first}\n"
        f"  why: {why} (N+1)\n"
        f"  do:  {_remedy(line.relationship)}"
    )


def _hint(repeated: Repeated, root: Path) -> str:
    line = repeated.line
    of = f" {line.relationship}" if line.relationship else ""
    place = recorded_lines.place(line, root)
    return f"{place} loads{of} by one query for each object (N+1): {_remedy(line.relationship)}"


def _remedy(relationship: str) -> str:
    if relationship:
        return f"load it with its parents, by .options(selectinload({relationship}))"
    return "ask for all of them at once, by WHERE ... IN or a JOIN"
