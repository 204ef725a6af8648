"""The whole suite of ``examples/shop``, beside the same suite with a conftest written by hand."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import running
from benchmarks.report import Table, ratio, seconds
from benchmarks.running import FILES, Project
from pytest_berth.sources.artifacts import cache_directory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.machine import Machine

TITLE = "A real suite, and its conftest"
SHOP = Path(__file__).parents[1] / "examples" / "shop"
_CONFTEST = Path("tests", "conftest.py")
_BASE = "pytest-berth"
_BY_HAND = "testcontainers, migrations, TRUNCATE after each test, by hand"


@dataclass(frozen=True)
class Shop(Project):
    """The shop's suite, with a conftest of its own where one is named."""

    def make(self, parent: Path) -> Path:
        """Copy the application and its tests; return their directory."""
        directory = parent / "".join(c if c.isalnum() else "_" for c in self.name)
        shutil.copytree(SHOP, directory, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        if self.conftest:
            shutil.copy(FILES / "conftests" / self.conftest, directory / _CONFTEST)
            ini = f"[pytest]\npythonpath = .\ntestpaths = tests\n{self.ini}"
        else:
            ini = f"{(SHOP / 'pytest.ini').read_text('utf-8')}{self.ini}"
        (directory / "pytest.ini").write_text(ini, encoding="utf-8")
        (directory / "temporary").mkdir()
        return directory


def measure(machine: Machine, parent: Path, *, rounds: int) -> Table:
    """Measure whole runs of the suite in both ways, in containers."""
    projects = _projects(machine)
    measured = running.measure(projects, parent, rounds, running.run)
    walls = {name: [taken.wall for taken in each] for name, each in measured.taken.items()}
    cpu = {name: min(taken.cpu for taken in each) for name, each in measured.taken.items()}
    base = median(walls[_BASE]) if _BASE in walls else None
    return Table(
        TITLE,
        "The whole of `python -m pytest` for the suite of `examples/shop`: its own conftest beside"
        " one that is written by hand; the server is a container. Medians of"
        f" {rounds} runs in turn; the processor time is the least that pytest's processes took;"
        " lines are those of the conftest that are not empty.",
        ("against pytest-berth", "median", "fastest", "processor time", "lines", "conftest"),
        [
            (
                ratio(median(values), base),
                *map(seconds, (median(values), min(values), cpu[project.name])),
                str(_lines(project)),
                project.name,
            )
            for project in projects
            if (values := walls.get(project.name))
        ],
        measured.notes,
    )


def _projects(machine: Machine) -> Sequence[Shop]:
    # The harness hides the user's own directory, and with it what has been downloaded.
    berth = {"BERTH_CACHE": str(cache_directory())}
    by_hand = {} if machine.has_ryuk else {"TESTCONTAINERS_RYUK_DISABLED": "true"}
    # As on a developer's machine, also where this runs in a container.
    ini = f"berth_source = container\nberth_pg_version = {machine.major}\nberth_wait_at_end = off\n"
    plugins = frozenset({"berth"})
    return [
        Shop(_BASE, "", plugins, "", ini, berth),
        Shop(
            f"{_BASE}, for the first time", "", plugins, "", f"{ini}berth_snapshots = off\n", berth
        ),
        Shop(
            f"{_BASE}, kept server",
            "",
            plugins,
            "",
            f"{ini}berth_keep = 10m\n",
            berth,
            end=("--berth-stop",),
        ),
        Shop(
            _BY_HAND,
            "",
            conftest="shop_by_hand.py",
            environment={"BENCHMARK_IMAGE": machine.image, **by_hand},
        ),
    ]


def _lines(project: Shop) -> int:
    path = FILES / "conftests" / project.conftest if project.conftest else SHOP / _CONFTEST
    return sum(bool(line.strip()) for line in path.read_text("utf-8").splitlines())
