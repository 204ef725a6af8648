"""How much memory servers take at rest, and pytest's process with the plugin and without."""

from __future__ import annotations

import json
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import running
from benchmarks.report import Table, megabytes, ratio
from benchmarks.running import Project
from pytest_berth.services import discovery
from pytest_berth.sources.artifacts import cache_directory

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TITLE = "Memory"
REST = 0.5
SOURCES = ("local", "container")
_TOLD = "told.json"
_IDLE, _USED, _NONE = "one test that needs nothing", "one rolled-back test", "without pytest-berth"


def measure(parent: Path, *, rounds: int) -> Table:
    """Measure every service that can be had here, and processes of pytest."""
    servers = running.measure(list(_servers()), parent, rounds, _told)
    processes = running.measure(_processes(), parent, rounds, _peak)
    peaks = {name: median(values) for name, values in processes.taken.items()}
    base = peaks.get(f"{_IDLE}, {_NONE}")
    return Table(
        TITLE,
        f"Servers {REST} s after the first answer, all processes of each; what these share counts"
        " once. Of pytest's process the most that it has taken. Medians of"
        f" {rounds} runs.",
        ("against pytest alone", "memory", "of what"),
        [
            *(
                ("-", megabytes(median(memory for memory, _ in taken)), f"{taken[0][1]}, {name}")
                for name, taken in servers.taken.items()
            ),
            *(
                (ratio(peak, base), megabytes(peak), f"pytest: {name}")
                for name, peak in peaks.items()
            ),
        ],
        [*servers.notes, *processes.notes],
    )


def _servers() -> Iterator[Project]:
    for service in discovery.ours():
        for source in SOURCES:
            yield Project(
                f"{service.name}, {source}",
                "test_at_rest.py",
                frozenset({"berth"}),
                ini=f"berth_source = {source}\n",
                environment={
                    "BENCHMARK_PREFIX": service.prefix,
                    "BENCHMARK_REST": str(REST),
                    "BENCHMARK_TOLD": _TOLD,
                    # The harness hides the user's own directory, and what has been downloaded.
                    "BERTH_CACHE": str(cache_directory()),
                },
            )


def _processes() -> list[Project]:
    told = {"BENCHMARK_PROCESSES": "processes", "BERTH_CACHE": str(cache_directory())}
    ini = "berth_pg_schema = models:Base.metadata\nberth_source = local\n"
    berth = frozenset({"berth"})
    return [
        Project(f"{_IDLE}, {_NONE}", "test_unit.py", conftest="workers.py", environment=told),
        Project(_IDLE, "test_unit.py", berth, "workers.py", environment=told),
        Project(
            f"the same imports as the next, {_NONE}",
            "test_floor.py",
            conftest="workers.py",
            environment=told,
        ),
        Project(_USED, "test_session.py", berth, "workers.py", ini, told),
    ]


def _told(project: Project, directory: Path) -> tuple[int, str]:
    running.run(project, directory)
    told = json.loads((directory / _TOLD).read_text("utf-8"))
    return told["memory"], told["server"]


def _peak(project: Project, directory: Path) -> int:
    running.run(project, directory)
    written = list((directory / "processes").iterdir())
    newest = max(written, key=lambda path: path.stat().st_mtime)
    memory: int = json.loads(newest.read_text("utf-8"))["memory"]
    return memory
