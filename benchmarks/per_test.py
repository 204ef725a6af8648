"""What one more test takes, once the server is up and the schema is made."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks import running
from benchmarks.report import Table, milliseconds, ratio
from benchmarks.running import Project, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from benchmarks.machine import Machine

TITLE = "One more test"
_KINDS = {
    "rollback": ("test_session.py", "SQLAlchemy's rollback recipe, by hand"),
    "truncation": ("test_engine.py", "TRUNCATE of all tables, by hand"),
}


def measure(
    machine: Machine, parent: Path, *, source: str, rounds: int, tests: int, tables: int
) -> Table:
    """Measure pytest-berth and what is written by hand, on the same server."""
    with machine.server(source) as url:
        measured = running.measure(
            _projects(machine, url, tables),
            parent,
            rounds,
            lambda project, directory: _one_and_many(project, directory, tests),
        )
    return Table(
        TITLE,
        f"A run of {tests + 1} tests less a run of one, divided by {tests}: medians (and fastest)"
        f" of {rounds} runs of each in turn, on one server ({source}) with settings fit for tests"
        f" and a schema of {tables} tables. Each test saves a row and reads it back.",
        ("against pytest-berth", "medians", "fastest runs", "clean slate"),
        _rows(measured.taken, tests),
        measured.notes,
    )


def _one_and_many(project: Project, directory: Path, tests: int) -> tuple[float, float]:
    one, many = (
        run(project, directory, environment={"BENCHMARK_TESTS": str(number)}).wall
        for number in (1, tests + 1)
    )
    return one, many


def _projects(machine: Machine, url: str, tables: int) -> list[Project]:
    ini = f"berth_pg_schema = models:Base.metadata\nberth_pg_version = {machine.major}\n"
    common = {"BENCHMARK_TABLES": str(tables)}
    projects = []
    for kind, (test, by_hand) in _KINDS.items():
        ours = {**common, "BERTH_PG_URL": url}
        theirs = {**common, "BENCHMARK_URL": url}
        projects += [
            Project(_ours(kind), test, frozenset({"berth"}), ini=ini, environment=ours),
            Project(by_hand, test, conftest="by_hand.py", environment=theirs),
        ]
    return projects


def _rows(taken: Mapping[str, Sequence[tuple[float, float]]], tests: int) -> list[tuple[str, ...]]:
    medians = {name: _difference(median, pairs) / tests for name, pairs in taken.items()}
    bases = {by_hand: _ours(kind) for kind, (_, by_hand) in _KINDS.items()}
    return [
        (
            ratio(medians[name], medians.get(bases.get(name, name))),
            milliseconds(medians[name]),
            milliseconds(_difference(min, pairs) / tests),
            name,
        )
        for name, pairs in taken.items()
    ]


def _difference(
    of: Callable[[Sequence[float]], float], pairs: Sequence[tuple[float, float]]
) -> float:
    """Subtract what is typical of each: a difference of two single runs has the noise of both."""
    one, many = zip(*pairs, strict=True)
    return of(many) - of(one)


def _ours(kind: str) -> str:
    return f"pytest-berth, {kind}"
