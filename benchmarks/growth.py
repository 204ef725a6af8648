"""What thousands of tests in one process leave in it: memory, descriptors, connections, time."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import running
from benchmarks.report import Table, megabytes, milliseconds, ratio
from benchmarks.running import Project
from pytest_berth.sources.artifacts import cache_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

TITLE = "Thousands of tests in one process"
# The kinds of tests in test_mix.py.
KINDS = 5
EVERY = 500
_READINGS = "readings.json"
_MIX = "rolled back, truncated, private database, Redis, Kafka in turn"
_NOTHING = "tests that need nothing, without pytest-berth"


@dataclass(frozen=True)
class Stretch:
    """What some hundred tests in a row took, and what the process had after them."""

    each: float
    each_cpu: float
    after: Mapping[str, float]


def measure(parent: Path, *, source: str, tests: int) -> Table:
    """Compare the first tests of one long run with its last, and with tests that need nothing."""
    directories = {project: project.make(parent) for project in _projects(source, tests)}
    taken, notes = {}, []
    for project, directory in directories.items():
        try:
            running.run(project, directory)
        except running.FAILURES as error:
            notes.append(f"Not measured: {running.brief(error)}")
        else:
            taken[project.name] = _stretches(json.loads((directory / _READINGS).read_text()))
    return Table(
        TITLE,
        f"One run of {tests:,} tests: its first {EVERY}, and its last ({source}). Memory is what"
        " is resident after collecting garbage. The first of all stretches has the imports and"
        " the first use of each server; so what grows is told from the second to the last.",
        ("last / second", "first", "second", "last", "what"),
        [row for name, stretches in taken.items() for row in _rows(name, stretches)],
        notes,
    )


def _projects(source: str, tests: int) -> list[Project]:
    common = {"BENCHMARK_EVERY": str(EVERY), "BENCHMARK_READINGS": _READINGS}
    return [
        Project(
            _MIX,
            "test_mix.py",
            frozenset({"berth"}),
            "readings.py",
            f"berth_pg_schema = models:Base.metadata\nberth_source = {source}\n",
            # The harness hides the user's own directory, and with it what has been downloaded.
            {
                **common,
                "BENCHMARK_TESTS": str(tests // KINDS + 1),
                "BERTH_CACHE": str(cache_directory()),
            },
            patience=3600,
        ),
        Project(
            _NOTHING,
            "test_nothing.py",
            conftest="readings.py",
            environment={**common, "BENCHMARK_TESTS": str(tests + 1)},
        ),
    ]


def _stretches(readings: Sequence[Mapping[str, float]]) -> list[Stretch]:
    return [
        Stretch(
            (after["ended"] - before["began"]) / EVERY,
            (after["ended_cpu"] - before["began_cpu"]) / EVERY,
            after,
        )
        for before, after in itertools.pairwise(readings)
    ]


def _rows(name: str, stretches: Sequence[Stretch]) -> Iterator[tuple[str, ...]]:
    chosen = (stretches[0], stretches[1], stretches[-1])
    times = {
        "a test": [stretch.each for stretch in chosen],
        "a test, processor time of pytest's process": [stretch.each_cpu for stretch in chosen],
    }
    for what, values in times.items():
        yield (ratio(values[2], values[1]), *map(milliseconds, values), f"{what}: {name}")
    memory = [stretch.after["memory"] for stretch in chosen]
    yield (ratio(memory[2], memory[1]), *map(megabytes, memory), f"memory: {name}")
    for what in ("descriptors", "connections", "threads"):
        counts = [stretch.after[what] for stretch in chosen]
        yield (ratio(counts[2], counts[1]), *(f"{n:.0f}" for n in counts), f"{what}: {name}")
