"""What many rows of seeds cost: once, when they are written, and after each test."""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import repair, running
from benchmarks.report import Table, milliseconds, ratio
from benchmarks.running import Project
from pytest_berth.services.postgres import restore
from pytest_berth.sources.artifacts import cache_directory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from benchmarks.machine import Machine

TITLE = "Many rows of seeds"
FEW, MANY = 10, 10_000
TABLES = 20
_RESULT = "run.json"
_SEEDED = f"t{TABLES - 1}"
_FILL = f"INSERT INTO {_SEEDED} (name) SELECT 'seed ' || n FROM generate_series(1, {{}}) n".encode()
_DONE = {
    "nothing is written": b"SELECT 1",
    "a row is added to another table": b"INSERT INTO t0 (name) VALUES ('a')",
    "a row is added to them": f"INSERT INTO {_SEEDED} (name) VALUES ('a')".encode(),
    "one of them is changed": f"UPDATE {_SEEDED} SET name = 'a' WHERE id = 15".encode(),
}
_BY_HAND = "by hand: TRUNCATE of the table, COPY of all rows"


@dataclass(frozen=True)
class Way:
    """A way to write seeds.

    Attributes:
        name: What the report calls it.
        ini: Lines of ``pytest.ini``.
        marked: Whether a marker gives the seeds to each test, instead of the settings to all.
    """

    name: str
    ini: str = ""
    marked: str = ""


_WAYS = (
    Way("no seeds"),
    Way("an .sql file of INSERT statements", "berth_pg_seed = seeds.sql\n"),
    Way("a .csv file", "berth_pg_seed = users.csv\n"),
    Way("a function that uses COPY", "berth_pg_seed = seeding:copy\n"),
    Way("a marker's .csv file, rolled back", marked="rollback"),
    Way("a marker's .csv file, truncation", marked="truncation"),
)


def measure(machine: Machine, parent: Path, *, source: str, rounds: int, times: int) -> Table:
    """Measure restores beside few and many seeded rows, and the ways to write the rows."""
    with machine.server(source) as url:
        taken = {rows: _restores(url, rows, times) for rows in (FEW, MANY)}
    projects = [_project(way, source, machine) for way in _WAYS]
    measured = running.measure(projects, parent, rounds, _take)
    once = {name: median(s[0] for s in samples) for name, samples in measured.taken.items()}
    each = {name: median(s[1] for s in samples) for name, samples in measured.taken.items()}
    return Table(
        TITLE,
        f"A restore: medians of {times} on one server ({source}) with settings fit for tests, and"
        f" {TABLES} tables, one of which holds {FEW}, or {MANY:,}, rows of the baseline; a test has"
        f" committed one statement. Seeds: medians of {rounds} runs of pytest, of {MANY:,} rows;"
        " they are written once, into a template that later runs clone, and a marker's in each"
        " test.",
        (f"many / few, or / {_WAYS[0].name}", f"{FEW} rows", f"{MANY:,} rows", "what"),
        [
            *(
                (
                    ratio(median(taken[MANY][what]), median(taken[FEW][what])),
                    *(milliseconds(median(taken[rows][what])) for rows in (FEW, MANY)),
                    f"restore: {what}",
                )
                for what in taken[MANY]
            ),
            *_rows("making the template", once),
            *_rows("a test's clean slate", each),
        ],
        measured.notes,
    )


def _rows(what: str, taken: Mapping[str, float]) -> list[tuple[str, ...]]:
    base = taken.get(_WAYS[0].name)
    return [
        (ratio(value, base), "-", milliseconds(value), f"{what}: {name}")
        for name, value in taken.items()
    ]


def _restores(url: str, rows: int, times: int) -> dict[str, list[float]]:
    with repair.database(url, TABLES) as (berth, application):
        application.execute(f"TRUNCATE {_SEEDED}".encode())
        application.execute(_FILL.replace(b"{}", b"%d" % rows))
        with application.cursor() as cursor, cursor.copy(f"COPY {_SEEDED} TO STDOUT".encode()) as c:
            lines = b"".join(bytes(part) for part in c)
        baseline = restore.capture(berth, lock_timeout=repair.LOCK_TIMEOUT, watch=True)

        def put_back() -> None:
            nonlocal baseline
            timeout = repair.LOCK_TIMEOUT
            baseline = restore.restore(berth, baseline, lock_timeout=timeout).baseline

        def write_again() -> None:
            application.execute(f"TRUNCATE {_SEEDED} RESTART IDENTITY".encode())
            into = f"COPY {_SEEDED} FROM STDIN".encode()
            with application.cursor() as cursor, cursor.copy(into) as copy:
                copy.write(lines)

        def doing(statement: bytes) -> Callable[[], object]:
            return lambda: application.execute(statement)

        put_back()
        found = {
            what: [repair.timed(put_back, doing(statement)) for _ in range(times)]
            for what, statement in _DONE.items()
        }
        found[_BY_HAND] = [repair.timed(write_again, put_back) for _ in range(times)]
    return found


def _project(way: Way, source: str, machine: Machine) -> Project:
    return Project(
        way.name,
        "test_seeded.py",
        frozenset({"berth"}),
        "seeds.py",
        "berth_pg_schema = models:Base.metadata\n"
        f"berth_source = {source}\nberth_pg_version = {machine.major}\n"
        f"addopts = --berth-json={_RESULT}\n{way.ini}",
        {
            "BENCHMARK_TESTS": "30",
            "BENCHMARK_MARKED": way.marked,
            "BENCHMARK_ROWS": str(MANY),
            # The harness hides the user's own directory, and with it what has been downloaded.
            "BERTH_CACHE": str(cache_directory()),
            # What is measured is the template's making, not that it was made before.
            "BERTH_SNAPSHOTS": "off",
        },
    )


def _take(project: Project, directory: Path) -> tuple[float, float]:
    """Return the seconds of making the template, and of the median test's clean slate."""
    running.run(project, directory)
    told = json.loads((directory / _RESULT).read_text("utf-8"))
    templates: Sequence[float] = [
        event["duration"] for event in told["timeline"] if event["what"] == "template"
    ]
    return sum(templates), median(test["isolation_time"] for test in told["tests"])
