"""What one more test with Redis or Kafka takes, once the server is up."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks import running
from benchmarks.report import Table, milliseconds, ratio
from benchmarks.running import Project
from pytest_berth.sources.artifacts import cache_directory

if TYPE_CHECKING:
    from pathlib import Path

TITLE = "One more test with Redis or Kafka"
_FLOOR = "nothing: what pytest itself takes"
_USES = {
    _FLOOR: "test_nothing.py",
    "redis_client: SET and GET": "test_redis.py",
    "kafka_probe: publish and collect": "test_kafka.py",
}


def measure(parent: Path, *, source: str, rounds: int, tests: int) -> Table:
    """Measure tests of one source against tests that need nothing."""
    ini = f"berth_source = {source}\n"
    # The harness hides the user's own directory, and with it what has been downloaded.
    environment = {"BERTH_CACHE": str(cache_directory())}
    projects = [
        Project(use, test, frozenset({"berth"}), ini=ini, environment=environment)
        for use, test in _USES.items()
    ]
    measured = running.measure(
        projects,
        parent,
        rounds,
        lambda project, directory: running.one_and_many(project, directory, tests),
    )
    medians = {use: running.each(median, samples) for use, samples in measured.taken.items()}
    return Table(
        TITLE,
        f"A run of {tests + 1} tests less a run of one, divided by {tests}: medians (and fastest)"
        f" of {rounds} runs of each in turn ({source}). Each test finds the server empty.",
        ("against nothing", "medians", "fastest runs", "the test uses"),
        [
            (
                ratio(taken, medians.get(_FLOOR)),
                milliseconds(taken),
                milliseconds(running.each(min, measured.taken[use])),
                use,
            )
            for use, taken in medians.items()
        ],
        measured.notes,
    )
