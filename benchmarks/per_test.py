"""What one more test takes, once the server is up and the schema is made."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import running
from benchmarks.chart import Bar
from benchmarks.machine import describe
from benchmarks.report import Table, milliseconds, ratio
from benchmarks.running import Project, Sample, has_plugin

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.machine import Machine

TITLE = "One more test"
SIZES = (20, 60, 500)
# A peer that takes half a second a test is not run two hundred times.
_SECONDS = 10.0
_FEWEST = 10


@dataclass(frozen=True)
class Candidate:
    """A way to a clean slate.

    Attributes:
        name: What the report calls it.
        base: The candidate of ours that gives its tests the same; empty for none.
        test: Its test module.
        plugin: The entry point of its pytest plugin; empty for none.
        conftest: Its conftest file.
        isolation: For ours, ``berth_pg_isolation``.
        ini: For ours, further lines of ``pytest.ini``.
    """

    name: str
    base: str
    test: str
    plugin: str = ""
    conftest: str = ""
    isolation: str = "auto"
    ini: str = ""

    def project(self, machine: Machine, url: str, tables: int) -> Project:
        """Return the project to be measured, on the server at *url*."""
        ini = ""
        if self.plugin == "berth":
            ini = (
                "berth_pg_schema = models:Base.metadata\n"
                f"berth_pg_version = {machine.major}\n"
                f"berth_pg_isolation = {self.isolation}\n{self.ini}"
            )
        return Project(
            _name(tables, self.name),
            self.test,
            frozenset({self.plugin} - {""}),
            self.conftest,
            ini,
            {
                "BENCHMARK_TABLES": str(tables),
                "BERTH_PG_URL": url,
                "BENCHMARK_URL": url,
                "DATABASE_URL": url,
            },
        )


_ROLLBACK, _TRUNCATION, _DATABASE = (
    f"pytest-berth, {isolation}" for isolation in ("rollback", "truncation", "database")
)
_COMMITTING = "test_engine.py"
_APPLICATION = "test_application.py"
_AUTO = "an application with its own engine: pytest-berth, auto"
_FLOOR = "nothing: what pytest itself takes"
_UNCLEANED = "the same test, after which nothing is cleaned"
CANDIDATES = (
    Candidate(_FLOOR, "", "test_nothing.py"),
    Candidate(_ROLLBACK, _ROLLBACK, "test_session.py", "berth"),
    Candidate(
        "SQLAlchemy's rollback recipe, by hand", _ROLLBACK, "test_session.py", "", "by_hand.py"
    ),
    Candidate(_TRUNCATION, _TRUNCATION, _COMMITTING, "berth"),
    Candidate("TRUNCATE of all tables, by hand", _TRUNCATION, _COMMITTING, "", "by_hand.py"),
    Candidate(_UNCLEANED, _TRUNCATION, "test_engine_uncleaned.py", "", "by_hand.py"),
    Candidate(
        _AUTO,
        _AUTO,
        _APPLICATION,
        "berth",
        ini="berth_autouse = pg\nberth_export = DATABASE_URL = {pg_url}\n",
    ),
    Candidate(
        "the same, its sessions rolled back by hand",
        _AUTO,
        _APPLICATION,
        "",
        "application_overridden.py",
    ),
    Candidate(
        "the same, TRUNCATE of all tables, by hand",
        _AUTO,
        _APPLICATION,
        "",
        "application_truncated.py",
    ),
    Candidate(_DATABASE, _DATABASE, _COMMITTING, "berth", isolation="database"),
    Candidate(
        "pytest-postgresql, a database each",
        _DATABASE,
        _COMMITTING,
        "pytest_postgresql",
        "pytest_postgresql_noproc.py",
    ),
    Candidate(
        "pytest-mock-resources, a database each",
        _DATABASE,
        _COMMITTING,
        "pytest_mock_resources",
        "pytest_mock_resources.py",
    ),
)


def measure(
    machine: Machine, parent: Path, *, source: str, rounds: int, tests: int, sizes: Sequence[int]
) -> Table:
    """Measure pytest-berth, what is written by hand, and the peers, on the same server."""
    able = [candidate for candidate in CANDIDATES if has_plugin(candidate.plugin)]
    with machine.server(source) as url:
        projects = [each.project(machine, url, size) for size in sizes for each in able]
        counts: dict[str, int] = {}
        measured = running.measure(
            projects,
            parent,
            rounds,
            lambda project, directory: _one_and_many(project, directory, tests, counts),
        )
    return Table(
        TITLE,
        f"A run of many tests less a run of one, divided by how many: medians (and fastest) of"
        f" {rounds} runs of each in turn, {describe(source)},"
        f" the same for all. Many are {tests}, or as few as take {_SECONDS:.0f} s."
        " Each test commits a row and reads it back. The comparison is with the isolation of"
        " pytest-berth that gives a test the same: rolled back, real commits, a database; once with"
        " what pytest itself takes for a test, and once less that; where tests commit, also less"
        " what they take when nothing is cleaned.",
        (
            "against pytest-berth",
            "less pytest's own part",
            "the cleaning alone",
            "medians",
            "fastest runs",
            "clean slate",
        ),
        _rows(measured.taken, able, sizes),
        [*measured.notes, *(_absent(each) for each in CANDIDATES if each not in able)],
        _bars(measured.taken, able, sizes),
    )


def _one_and_many(project: Project, directory: Path, tests: int, counts: dict[str, int]) -> Sample:
    if project.name not in counts:
        counts[project.name] = _how_many(project, directory, tests)
    return running.one_and_many(project, directory, counts[project.name])


def _how_many(project: Project, directory: Path, tests: int) -> int:
    pilot = running.one_and_many(project, directory, _FEWEST)
    return max(_FEWEST, min(tests, int(_SECONDS / running.each(min, [pilot]))))


def _rows(
    taken: Mapping[str, Sequence[Sample]], candidates: Sequence[Candidate], sizes: Sequence[int]
) -> list[tuple[str, ...]]:
    medians = {name: running.each(median, samples) for name, samples in taken.items()}
    return [
        (
            ratio(medians[name], medians.get(_name(size, candidate.base))),
            _ratio_less(medians, size, candidate, _FLOOR),
            _ratio_less(medians, size, candidate, _UNCLEANED)
            if candidate.test == _COMMITTING
            else "-",
            milliseconds(medians[name]),
            milliseconds(running.each(min, taken[name])),
            name,
        )
        for size in sizes
        for candidate in candidates
        if (name := _name(size, candidate.name)) in taken
    ]


def _ratio_less(medians: Mapping[str, float], size: int, candidate: Candidate, other: str) -> str:
    """Compare what candidates take beside what another one takes, too."""
    names = (_name(size, each) for each in (candidate.name, candidate.base, other))
    own, base, floor = map(medians.get, names)
    if own is None or base is None or floor is None or base <= floor:
        return "-"
    return ratio(own - floor, base - floor)


def _bars(
    taken: Mapping[str, Sequence[Sample]], candidates: Sequence[Candidate], sizes: Sequence[int]
) -> list[Bar]:
    return [
        Bar(f"{size} tables", candidate.name, running.each(median, taken[name]))
        for size in sizes
        for candidate in candidates
        if (name := _name(size, candidate.name)) in taken
    ]


def _name(size: int, candidate: str) -> str:
    return f"{size} tables: {candidate}"


def _absent(candidate: Candidate) -> str:
    return f"{candidate.name}: the plugin {candidate.plugin} is not installed"
