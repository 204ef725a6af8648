"""What each of berth's shortcuts saves of a whole run: the same run with it, and without it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import running
from benchmarks.report import Table, ratio, seconds
from benchmarks.running import Project, run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from benchmarks.machine import Machine

TITLE = "What makes it fast"
POSTGRES = "pytest_berth.services.postgres"
ROLLED_BACK, COMMITTING = "test_session.py", "test_engine.py"


@dataclass(frozen=True)
class Shortcut:
    """Something that a run need not do, and how it is made to do it.

    Attributes:
        name: What the report calls it.
        test: The test module of the run.
        ini: Lines of ``pytest.ini`` in both cases.
        on: A line that switches it on.
        off: A line that switches it off.
        without: The function that finds, or makes, nothing where it is off.
        tests: How many tests there are.
    """

    name: str
    test: str = ROLLED_BACK
    ini: str = ""
    on: str = ""
    off: str = ""
    without: str = ""
    tests: int = 1

    def projects(self, machine: Machine, source: str, tables: int) -> tuple[Project, Project]:
        """Return the project with the shortcut, and without it."""
        ini = (
            "berth_pg_schema = models:Base.metadata\n"
            f"berth_source = {source}\nberth_pg_version = {machine.major}\n{self.ini}"
        )
        given = {"BENCHMARK_TABLES": str(tables), "BENCHMARK_TESTS": str(self.tests)}
        if machine.binaries:
            given["PATH"] = os.pathsep.join([str(machine.binaries), os.environ["PATH"]])
        with_, without = (
            Project(
                f"{self.name} {way}",
                self.test,
                frozenset({"berth"}),
                "without.py",
                f"{ini}{line}",
                {**given, "BENCHMARK_WITHOUT": function},
                machine.user,
                ("--berth-stop",),
            )
            for way, line, function in (("on", self.on, ""), ("off", self.off, self.without))
        )
        return with_, without


_KEPT = "berth_keep = 10m\n"
_FIND = f"{POSTGRES}.databases.stored_templates:StoredTemplate.find"
_STORE = f"{POSTGRES}.restore.stored_baseline:store"
SHORTCUTS = (
    Shortcut("snapshot", off="berth_snapshots = off\n"),
    Shortcut("reused server", on=_KEPT),
    Shortcut("stored template, in a snapshot", without=_FIND),
    Shortcut("stored template, on a reused server", ini=_KEPT, without=_FIND),
    Shortcut("stored baseline, in a snapshot", COMMITTING, without=_STORE),
    Shortcut(
        "template built ahead of the tests",
        ini="berth_snapshots = off\n",
        without=f"{POSTGRES}.databases.template:build_ahead",
    ),
    Shortcut(
        "pool of private databases, 21 tests",
        COMMITTING,
        "berth_pg_isolation = database\n",
        without=f"{POSTGRES}.databases.pooled_database:PooledDatabase.put_back",
        tests=21,
    ),
)


def measure(machine: Machine, parent: Path, *, source: str, rounds: int, tables: int) -> Table:
    """Measure whole runs with each shortcut and without it, in turn."""
    pairs = {each: each.projects(machine, source, tables) for each in SHORTCUTS}
    projects = [project for pair in pairs.values() for project in pair]
    measured = running.measure(projects, parent, rounds, lambda *which: run(*which).wall)
    rows = [
        _row(shortcut, *(measured.taken[project.name] for project in pair))
        for shortcut, pair in pairs.items()
        if all(project.name in measured.taken for project in pair)
    ]
    return Table(
        TITLE,
        f"The whole of `python -m pytest`, medians of {rounds} runs in turn ({source}, {tables}"
        " tables); one test, where it does not say how many. What is saved is the difference of the"
        " medians, and in brackets that of the fastest runs.",
        ("without / with", "saves", "with", "without", "shortcut"),
        rows,
        measured.notes,
    )


def _row(shortcut: Shortcut, with_: Sequence[float], without: Sequence[float]) -> tuple[str, ...]:
    middle, other = median(with_), median(without)
    saved = f"{(other - middle) * 1000:.0f} ms ({(min(without) - min(with_)) * 1000:.0f} ms)"
    return (ratio(other, middle), saved, seconds(middle), seconds(other), shortcut.name)
