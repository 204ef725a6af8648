"""What a project of one test, and one of many, takes: from the command to the prompt."""

from __future__ import annotations

import os
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import running
from benchmarks.chart import Bar
from benchmarks.report import Table, ratio, seconds
from benchmarks.running import Project, has_plugin, run

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from benchmarks.machine import Machine

TITLE = "A whole run"
FLOOR = "the same imports, no server"
_OURS = {source: f"pytest-berth, {source}" for source in ("local", "container")}
# Beside the ordinary run, which starts from a snapshot: without one, and on a kept server.
_WAYS = {"for the first time": "berth_snapshots = off\n", "kept server": "berth_keep = 10m\n"}
_CONTAINER_PEERS = ("testcontainers, by hand", "pytest-databases")
_PROCESS_PEERS = ("pytest-postgresql",)
_GROUPS = {
    **dict.fromkeys((_OURS["local"], *_PROCESS_PEERS), _OURS["local"]),
    **dict.fromkeys((_OURS["container"], *_CONTAINER_PEERS), _OURS["container"]),
    **{f"{name}, {way}": name for name in _OURS.values() for way in _WAYS},
}


def measure(machine: Machine, parent: Path, *, rounds: int, tables: int, tests: int) -> Table:
    """Measure every candidate that can run here."""
    projects, absent = _candidates(machine, tables)
    counts = (1, tests + 1)
    measured = running.measure(
        projects,
        parent,
        rounds,
        lambda project, directory: {number: _wall(project, directory, number) for number in counts},
    )
    return Table(
        TITLE,
        f"The whole of `python -m pytest`, medians of {rounds} runs in turn; {tables} tables, made"
        " from SQLAlchemy's metadata. Each candidate is compared with pytest-berth where the"
        " server runs in the same way, container or process.",
        ("against pytest-berth", "against no server", "median", "fastest", "slowest", "candidate"),
        [row for number in counts for row in _rows(measured.taken, number)],
        [*absent, *measured.notes, *_notes(machine)],
        [bar for number in counts for bar in _bars(measured.taken, number)],
    )


def phased(machine: Machine, tables: int) -> list[Project]:
    """Return the ways to get a server whose phases are told, and the run without any."""
    found, _ = _candidates(machine, tables)
    ours = {
        f"{name}{way}" for name in _OURS.values() for way in ("", *(f", {each}" for each in _WAYS))
    }
    return [project for project in found if project.name in {FLOOR, *ours}]


def _wall(project: Project, directory: Path, tests: int) -> float:
    return run(project, directory, environment={"BENCHMARK_TESTS": str(tests)}).wall


def _rows(taken: Mapping[str, Sequence[Mapping[int, float]]], number: int) -> list[tuple[str, ...]]:
    times = {name: [sample[number] for sample in samples] for name, samples in taken.items()}
    medians = {name: median(values) for name, values in times.items()}
    return [
        (
            ratio(medians[name], medians.get(_GROUPS.get(name, ""))),
            ratio(medians[name], medians.get(FLOOR)),
            *map(seconds, (medians[name], min(values), max(values))),
            f"{_tests(number)}: {name}",
        )
        for name, values in times.items()
    ]


def _bars(taken: Mapping[str, Sequence[Mapping[int, float]]], number: int) -> list[Bar]:
    return [
        Bar(_tests(number), name, median(sample[number] for sample in samples))
        for name, samples in taken.items()
    ]


def _tests(number: int) -> str:
    return "one test" if number == 1 else f"{number} tests"


def _candidates(machine: Machine, tables: int) -> tuple[list[Project], list[str]]:
    """Return the candidates of this machine, and why the others are absent."""
    found, absent = [Project(FLOOR, "test_floor.py", user=machine.user)], []
    common = {"BENCHMARK_TABLES": str(tables)}
    if machine.binaries:
        found += _all_ours("local", machine, common)
        if machine.pg_ctl and has_plugin("pytest_postgresql"):
            found.append(_pytest_postgresql(machine, common))
        else:
            absent.append("pytest-postgresql: it, or its pg_ctl, is not here")
    else:
        absent.append(f"processes: no binaries of PostgreSQL {machine.major}")
    if machine.engine:
        found += [*_all_ours("container", machine, common), *_container_peers(machine, common)]
    else:
        absent.append(f"containers: no engine, or not the image {machine.image}")
    return found, absent


def _all_ours(source: str, machine: Machine, common: dict[str, str]) -> list[Project]:
    ours = _ours(source, machine, common)
    others = [
        replace(ours, name=f"{ours.name}, {way}", ini=ours.ini + line, end=("--berth-stop",))
        for way, line in _WAYS.items()
    ]
    return [ours, *others]


def _ours(source: str, machine: Machine, common: dict[str, str]) -> Project:
    ini = (
        "berth_pg_schema = models:Base.metadata\n"
        f"berth_source = {source}\n"
        f"berth_pg_version = {machine.major}\n"
        # As on a developer's machine, also where this runs in a container.
        "berth_wait_at_end = off\n"
    )
    environment = {**common, **_path(machine)}
    plugins = frozenset({"berth"})
    name = _OURS[source]
    return Project(name, "test_session.py", plugins, "", ini, environment, machine.user)


def _pytest_postgresql(machine: Machine, common: dict[str, str]) -> Project:
    environment = {**common, **_path(machine), "BENCHMARK_PG_CTL": str(machine.pg_ctl)}
    plugins = frozenset({"pytest_postgresql"})
    return Project(
        _PROCESS_PEERS[0],
        "test_session.py",
        plugins,
        "pytest_postgresql.py",
        environment=environment,
        user=machine.user,
    )


def _container_peers(machine: Machine, common: dict[str, str]) -> list[Project]:
    environment = {**common, "BENCHMARK_IMAGE": machine.image}
    by_hand = {} if machine.has_ryuk else {"TESTCONTAINERS_RYUK_DISABLED": "true"}
    peers = [
        Project(
            _CONTAINER_PEERS[0],
            "test_session.py",
            conftest="testcontainers_by_hand.py",
            environment=environment | by_hand,
            user=machine.user,
        )
    ]
    if machine.engine and has_plugin("pytest_databases"):
        # Asking the docker command for its context, as the plugin does, fails with some versions.
        host = {"DOCKER_HOST": os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")}
        peers.append(
            Project(
                _CONTAINER_PEERS[1],
                "test_session.py",
                frozenset({"pytest_databases"}),
                "pytest_databases.py",
                environment=environment | host,
                user=machine.user,
            )
        )
    return peers


def _path(machine: Machine) -> dict[str, str]:
    return {"PATH": os.pathsep.join([str(machine.binaries), os.environ["PATH"]])}


def _notes(machine: Machine) -> list[str]:
    notes = [
        "The peers' servers keep the settings that they come with; pytest-berth's are those fit"
        " for tests.",
        "testcontainers and pytest-databases make no session: the fixture around them is"
        " SQLAlchemy's recipe.",
    ]
    if machine.engine and not machine.has_ryuk:
        notes.append("testcontainers ran without its reaper, whose image is not here.")
    return notes
