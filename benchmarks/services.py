"""What each kind of server costs: its start by source, and a clean slate for each test."""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import running
from benchmarks.report import Table, milliseconds, seconds
from benchmarks.running import FILES, Project
from pytest_berth.sources.artifacts import cache_directory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

TITLE = "What each kind of server costs"
_FOLDER = FILES / "services"
_SOURCES = ("container", "local")
_RECORDS = {"": 100, ", 10 x": 1000}
_KINDS = ("untouched", "small")
_MOST_ROUNDS, _MOST_TESTS = 2, 30
_RESULT = "run.json"


@dataclass(frozen=True)
class Sample:
    """What one run of a service's tests took.

    Attributes:
        server: The server, as the run tells it.
        start: Seconds from the decision to start it until it answered.
        slates: Seconds of both ends of each test's isolation, by the kind of test.
    """

    server: str
    start: float
    slates: dict[str, list[float]]


def measure(parent: Path, *, rounds: int, tests: int) -> Table:
    """Measure all services for which there is a test module, from each source.

    There are some 40 of them with both numbers of records, of which some take half a minute to
    start: so rounds and tests are few, whatever other parts have, and what cannot be had from a
    source is noted, and not tried again.
    """
    rounds, tests = min(rounds, _MOST_ROUNDS), min(tests, _MOST_TESTS)
    taken: dict[str, list[Sample]] = {}
    notes: list[str] = []
    for path in sorted(_FOLDER.glob("test_*.py")):
        for source in _SOURCES:
            for size in _RECORDS:
                project = _project(path.stem.removeprefix("test_"), source, size, tests)
                directory = project.make(parent)
                try:
                    taken[project.name] = [_take(project, directory) for _ in range(rounds)]
                except running.FAILURES as error:
                    notes.append(f"Not measured: {running.brief(error)}")
                    break
    return Table(
        TITLE,
        f"{_runs(rounds)} of {tests} tests that write nothing, and {tests} that write one"
        " record, on a server where a session fixture has written"
        f" {' and '.join(str(each) for each in _RECORDS.values())} (10 x). A clean slate is what"
        " happens before and after each test, taken together; a start ends when the server"
        " answers, with nothing to be downloaded, and without a snapshot.",
        ("start", *(f"{kind}{size}" for size in _RECORDS for kind in _KINDS), "server"),
        [
            _row(taken[f"{name}, {source}"], taken[f"{name}, {source}, 10 x"])
            for name, source in _pairs(taken)
        ],
        notes,
    )


def _runs(rounds: int) -> str:
    return f"Medians of {rounds} runs" if rounds > 1 else "Medians of one run"


def _project(service: str, source: str, size: str, tests: int) -> Project:
    # The harness hides the user's own directory, and with it what has been downloaded.
    environment = {
        "BERTH_CACHE": str(cache_directory()),
        "BERTH_SNAPSHOTS": "off",
        "BENCHMARK_TESTS": str(tests),
        "BENCHMARK_RECORDS": str(_RECORDS[size]),
    }
    settings = _FOLDER / f"{service}.ini"
    return Project(
        f"{service}, {source}{size}",
        f"services/test_{service}.py",
        frozenset({"berth"}),
        ini=f"berth_source = {source}\naddopts = --berth-json={_RESULT}\n"
        + (settings.read_text("utf-8") if settings.exists() else ""),
        environment=environment,
    )


def _take(project: Project, directory: Path) -> Sample:
    running.run(project, directory)
    told = json.loads((directory / _RESULT).read_text("utf-8"))
    (server,) = told["servers"]
    return Sample(
        f"{server['service']} {server['version']}, {server['source']}: {server['detail']}",
        server["started_in"],
        {
            kind: [
                test["isolation_time"]
                for test in told["tests"]
                if test["nodeid"].partition("::test_")[2].startswith(kind)
            ]
            for kind in _KINDS
        },
    )


def _pairs(taken: Iterable[str]) -> list[tuple[str, str]]:
    """Return service and source of all that was measured with both numbers of records."""
    names = set(taken)
    found = [name.split(", ") for name in sorted(names) if f"{name}, 10 x" in names]
    return [(service, source) for service, source in found]


def _row(small: Sequence[Sample], large: Sequence[Sample]) -> tuple[str, ...]:
    return (
        seconds(median(sample.start for sample in small)),
        *(
            milliseconds(median(median(sample.slates[kind]) for sample in samples))
            for samples in (small, large)
            for kind in _KINDS
        ),
        small[0].server,
    )
