"""What a passing test pays for what its report would tell if it failed."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import running
from benchmarks.report import Table, milliseconds, ratio
from benchmarks.running import Project
from pytest_berth.sources.artifacts import cache_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from benchmarks.running import Taken

TITLE = "What diagnostics cost a passing test"
_USES = {
    "Postgres, rollback": "test_session.py",
    "Postgres, truncation": "test_engine.py",
    "Redis": "test_redis.py",
    "Kafka": "test_kafka.py",
}
_SETTINGS = {"on": 15, "off": 0}


@dataclass(frozen=True)
class Sample:
    """A run of one test, and a run of that one and many more."""

    one: Taken
    all: Taken


def measure(parent: Path, *, source: str, rounds: int, tests: int) -> Table:
    """Measure tests of each service with ``berth_report_lines = 15`` and with 0, in turn."""
    environment = {"BERTH_CACHE": str(cache_directory())}
    projects = [
        Project(
            f"{use}, {name}",
            test,
            frozenset({"berth"}),
            ini="berth_pg_schema = models:Base.metadata\n"
            f"berth_source = {source}\nberth_report_lines = {lines}\n",
            environment=environment,
        )
        for use, test in _USES.items()
        for name, lines in _SETTINGS.items()
    ]

    def take(project: Project, directory: Path) -> Sample:
        one, many = (
            running.run(project, directory, environment={"BENCHMARK_TESTS": str(number)})
            for number in (1, tests + 1)
        )
        return Sample(one, many)

    measured = running.measure(projects, parent, rounds, take)
    taken = measured.taken
    return Table(
        TITLE,
        f"A run of {tests + 1} tests less a run of one, divided by {tests}: medians, and fastest,"
        f" of {rounds} runs of each in turn ({source}); the processor time is the least that"
        " pytest's process took. Off is `berth_report_lines = 0`.",
        ("on / off", "fastest runs", "processor time", "on", "off", "the test uses"),
        [
            _row(use, taken[f"{use}, on"], taken[f"{use}, off"], tests)
            for use in _USES
            if f"{use}, on" in taken and f"{use}, off" in taken
        ],
        measured.notes,
    )


def _row(use: str, on: Sequence[Sample], off: Sequence[Sample], tests: int) -> tuple[str, ...]:
    def compared(of: Callable[[Iterable[float]], float], what: str) -> str:
        return ratio(_each(of, on, what, tests), _each(of, off, what, tests))

    return (
        compared(median, "wall"),
        compared(min, "wall"),
        compared(min, "cpu"),
        milliseconds(_each(median, on, "wall", tests)),
        milliseconds(_each(median, off, "wall", tests)),
        use,
    )


def _each(
    of: Callable[[Iterable[float]], float], samples: Sequence[Sample], what: str, tests: int
) -> float:
    """Return the seconds of one more test."""
    many: float = of(getattr(sample.all, what) for sample in samples)
    one: float = of(getattr(sample.one, what) for sample in samples)
    return max((many - one) / tests, 1e-6)
