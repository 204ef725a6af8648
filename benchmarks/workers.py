"""What more workers than cores bring and cost: time, memory, connections."""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import running
from benchmarks.report import Table, megabytes, ratio, seconds
from benchmarks.running import Project
from pytest_berth.sources.artifacts import cache_directory

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "Workers"
NUMBERS = (0, 1, 2, 8)
_FLOOR = "the same imports, no server"
_PROCESSES = "processes"


@dataclass(frozen=True)
class Sample:
    """What a run took.

    Attributes:
        wall: Seconds.
        cpu: Seconds of processor time of pytest's processes.
        memory: Bytes of pytest's processes together, each at its most.
        connections: Of clients of the server, at most.
    """

    wall: float
    cpu: float
    memory: int
    connections: int


def measure(parent: Path, *, source: str, rounds: int, tests: int) -> Table:
    """Measure runs with several numbers of workers, and the same without berth."""
    projects = [
        project for number in NUMBERS for project in (_berth(number, source, tests), _floor(number))
    ]
    measured = running.measure(projects, parent, rounds, _take)
    walls = {name: median(s.wall for s in each) for name, each in measured.taken.items()}
    base = walls.get(_berth(0, source, tests).name)
    return Table(
        TITLE,
        f"The whole of `python -m pytest -n NUMBER` for {tests} tests, half of them rolled back and"
        f" half truncated ({source}); medians of {rounds} runs in turn. Memory is that of pytest's"
        " processes together, each at its most, so what they share counts for each; connections"
        " are those of all clients that the tests have seen at most.",
        ("against one process", "median", "fastest", "processor", "memory", "connections", "run"),
        [
            (
                ratio(walls[name], base),
                *map(seconds, (walls[name], min(s.wall for s in each), min(s.cpu for s in each))),
                megabytes(median(s.memory for s in each)),
                str(max(s.connections for s in each) or "-"),
                name,
            )
            for name, each in measured.taken.items()
        ],
        measured.notes,
    )


def _berth(number: int, source: str, tests: int) -> Project:
    return Project(
        f"{_workers(number)}: pytest-berth",
        "test_workers.py",
        frozenset({"berth", "xdist"}),
        "workers.py",
        f"berth_pg_schema = models:Base.metadata\nberth_source = {source}\n{_addopts(number)}"
        # As on a developer's machine, also where this runs in a container.
        "berth_wait_at_end = off\n",
        {
            "BENCHMARK_TESTS": str(tests // 2),
            "BENCHMARK_PROCESSES": _PROCESSES,
            # The harness hides the user's own directory, and with it what has been downloaded.
            "BERTH_CACHE": str(cache_directory()),
        },
    )


def _floor(number: int) -> Project:
    return Project(
        f"{_workers(number)}: {_FLOOR}",
        "test_floor.py",
        frozenset({"xdist"}),
        "workers.py",
        _addopts(number),
        {"BENCHMARK_PROCESSES": _PROCESSES},
    )


def _workers(number: int) -> str:
    return {0: "one process", 1: "a worker"}.get(number, f"{number} workers")


def _addopts(number: int) -> str:
    return f"addopts = -n {number}\n"


def _take(project: Project, directory: Path) -> Sample:
    told = directory / _PROCESSES
    for path in told.iterdir():
        path.unlink()
    taken = running.run(project, directory)
    found = [json.loads(path.read_text("utf-8")) for path in told.iterdir()]
    return Sample(
        taken.wall,
        taken.cpu,
        sum(each["memory"] for each in found),
        max(each["connections"] for each in found),
    )
