"""Runs of pytest on small projects: each a process of its own, measured from outside."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Generic, TypeVar

from pytest_berth.cli import prune_cache
from pytest_berth.sources import snapshots

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

FILES = Path(__file__).with_name("project")
TIMEOUT = 300
T = TypeVar("T")
_OTHERS = ("PYTEST_", "BERTH_", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True)
class Project:
    """A project to be measured.

    Attributes:
        name: What the report calls it.
        test: Its test module, a name within ``project/``.
        plugins: Entry points of the pytest plugins that it uses; all others are switched off.
        conftest: Its conftest file, a name within ``project/conftests/``; empty for none.
        ini: Lines of its ``pytest.ini``.
        environment: What it needs beside the harness's own environment.
        user: Words before the command that make another user run it.
        end: Arguments of a last run, which ends what the others have left.
        patience: Seconds that a run may take.
    """

    name: str
    test: str
    plugins: frozenset[str] = frozenset()
    conftest: str = ""
    ini: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    user: Sequence[str] = ()
    end: Sequence[str] = ()
    patience: float = TIMEOUT

    def make(self, parent: Path) -> Path:
        """Write the project's files; return its directory."""
        directory = parent / "".join(c if c.isalnum() else "_" for c in self.name)
        directory.mkdir()
        shutil.copy(FILES / "models.py", directory)
        shutil.copy(FILES / self.test, directory)
        if self.conftest:
            shutil.copy(FILES / "conftests" / self.conftest, directory / "conftest.py")
        ini = f"[pytest]\npythonpath = .\n{self.ini}"
        (directory / "pytest.ini").write_text(ini, encoding="utf-8")
        (directory / "temporary").mkdir()
        for path in (directory, directory / "temporary"):
            path.chmod(0o777)
        return directory


@dataclass(frozen=True)
class Taken:
    """What one run took.

    Attributes:
        wall: Seconds from launch to exit.
        cpu: Seconds of processor time, of the process and of those it has waited for.
    """

    wall: float
    cpu: float


@dataclass(frozen=True)
class Measured(Generic[T]):
    """What was measured.

    Attributes:
        taken: The samples of each project that could be measured, by its name.
        notes: Which runs failed, and why.
    """

    taken: Mapping[str, Sequence[T]]
    notes: Sequence[str]


@dataclass(frozen=True)
class Sample:
    """A run of one test, and a run of that one and many more.

    Attributes:
        one: Seconds of the run of one test.
        all: Seconds of the run of all.
        many: How many more they are.
    """

    one: float
    all: float
    many: int


class RunFailedError(Exception):
    """A measured run did not pass, so that its time says nothing."""


# What a measured run may raise, so that it does not count.
FAILURES = (RunFailedError, subprocess.TimeoutExpired)


def run(
    project: Project,
    directory: Path,
    *,
    environment: Mapping[str, str] | None = None,
    interpreter_options: Sequence[str] = (),
) -> Taken:
    """Run pytest once in a project's directory.

    Raises:
        RunFailedError: It did not pass; with what it printed.
    """
    return run_with_output(project, directory, environment or {}, interpreter_options)[0]


def run_with_output(
    project: Project,
    directory: Path,
    environment: Mapping[str, str],
    interpreter_options: Sequence[str] = (),
    arguments: Sequence[str] = (),
) -> tuple[Taken, str]:
    """Run pytest once; return also what it printed."""
    # -X importtime and its like write to where pytest's own output goes.
    python = [sys.executable, *interpreter_options, "-m", "pytest", *_without(project.plugins)]
    cpu, began = _cpu_of_children(), time.perf_counter()
    result = subprocess.run(
        [*project.user, *python, *arguments],
        cwd=directory,
        env=_environment(directory) | dict(project.environment) | dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=project.patience,
        check=False,
    )
    taken = Taken(time.perf_counter() - began, _cpu_of_children() - cpu)
    if result.returncode:
        raise RunFailedError(f"{project.name}: status {result.returncode}\n{result.stdout}")
    return taken, result.stdout


def measure(
    projects: Sequence[Project],
    parent: Path,
    rounds: int,
    take: Callable[[Project, Path], T],
) -> Measured[T]:
    """Measure projects in turn, each as often as there are rounds.

    Each is run once beforehand, so that modules are compiled and files are cached. Every round
    begins with another project: what slows the machine for a while then slows all of them.
    """
    directories, notes = _warm_up(projects, parent)
    able = [project for project in projects if project.name in directories]
    taken: dict[str, list[T]] = {project.name: [] for project in able}
    for number in range(rounds if able else 0):
        shift = number % len(able)
        for project in (*able[shift:], *able[:shift]):
            try:
                taken[project.name].append(take(project, directories[project.name]))
            except FAILURES as error:
                notes.append(f"A run does not count: {brief(error)}")
    for project in able:
        if project.end:
            run_with_output(project, directories[project.name], {}, arguments=project.end)
    return Measured({name: values for name, values in taken.items() if values}, notes)


def _warm_up(projects: Iterable[Project], parent: Path) -> tuple[dict[str, Path], list[str]]:
    """Make the projects and run each once; return the directories of those that passed."""
    directories, notes = {}, []
    for project in projects:
        directory = project.make(parent)
        try:
            run(project, directory)
        except FAILURES as error:
            notes.append(f"Not measured: {brief(error)}")
        else:
            directories[project.name] = directory
    return directories, notes


def one_and_many(project: Project, directory: Path, tests: int) -> Sample:
    """Run a project with one test, and with so many more."""
    one, all_of_them = (
        run(project, directory, environment={"BENCHMARK_TESTS": str(number)}).wall
        for number in (1, tests + 1)
    )
    return Sample(one, all_of_them, tests)


def each(of: Callable[[Iterable[float]], float], samples: Sequence[Sample]) -> float:
    """Return the seconds of one more test.

    What is typical of each is subtracted: a difference of two single runs has the noise of both.
    """
    difference = of(sample.all for sample in samples) - of(sample.one for sample in samples)
    return max(difference / samples[0].many, 1e-6)


def has_plugin(name: str) -> bool:
    """Tell whether a pytest plugin is installed; no name is no plugin, which is always there."""
    return not name or any(point.name == name for point in entry_points(group="pytest11"))


def brief(error: Exception) -> str:
    """Return why a run did not pass, in one line."""
    lines = str(error).strip().splitlines()
    # pytest's lines, and those of berth's own errors.
    reasons = [line.strip() for line in lines if line.startswith(("E  ", "  why: "))]
    return " ... ".join(dict.fromkeys([lines[0], *reasons[-1:], lines[-1]]))


def _environment(directory: Path) -> dict[str, str]:
    own = {name: value for name, value in os.environ.items() if not name.startswith(_OTHERS)}
    temporary = str(directory / "temporary")
    return {
        **own,
        "BENCHMARK_TABLES": "20",
        "BENCHMARK_TESTS": "1",
        "HOME": str(directory),
        "PYTEST_DEBUG_TEMPROOT": temporary,
        "USER": "benchmark",
        "LOGNAME": "benchmark",
    }


def _without(plugins: frozenset[str]) -> list[str]:
    installed = sorted({point.name for point in entry_points(group="pytest11")})
    return [word for name in installed if name not in plugins for word in ("-p", f"no:{name}")]


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def forget_snapshots(parent: Path) -> None:
    """Remove the snapshots of the projects in a directory: no later run will begin with them."""
    theirs = [f"-{snapshots.project(path.resolve())}-" for path in parent.iterdir()]
    for stored in prune_cache.stored_snapshots():
        if any(project in stored.what for project in theirs):
            stored.remove()
