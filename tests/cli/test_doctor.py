"""``pytest-berth doctor``: what it finds, what it says of it, and that nothing stops it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from conftest import TIMEOUT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from conftest import Project

NO_ENGINE = {"DOCKER_HOST": "tcp://127.0.0.1:1"}
LEAVE_A_DIRECTORY = "from pytest_berth.run.run import Run; print(Run('0dead000', 'main').directory)"


def doctor(
    project: Project, *arguments: str, **environment: str
) -> tuple[int, list[dict[str, str]]]:
    """Return the exit status, and the lines."""
    ended = command(project, "doctor", "--json", *arguments, **environment)
    assert ended.stdout, ended.stderr
    told: dict[str, Any] = json.loads(ended.stdout)
    worst = max(["ok", "warning", "failure"].index(each["status"]) for each in told["checks"])
    assert told["status"] == ended.returncode == worst
    return ended.returncode, told["checks"]


def command(
    project: Project, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in the project's directory."""
    return subprocess.run(
        [sys.executable, "-m", "pytest_berth.cli", *arguments],
        cwd=project.root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


def about(lines: Sequence[dict[str, str]], name: str, status: str) -> list[str]:
    """Return the texts of a status, with what is to be done."""
    found = [each for each in lines if each["about"] == name and each["status"] == status]
    return ["\n".join([each["text"], each["remedy"]]) for each in found]


def test_it_tells_settings_with_their_origins_and_what_serves(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.ini(
        "addopts = -n 4 --of-another=plugin",
        "berth_source = local",
        "berth_export = DATABASE_URL = {pg_url}",
        "berth_services = mailpit = axllent/mailpit:v1.20 smtp:1025",
    )
    project.conftest("raise RuntimeError('the suite is not imported')")

    _, lines = doctor(project, **NO_ENGINE, BERTH_PG_LOCK_TIMEOUT="7")

    assert {each.strip() for each in about(lines, "settings", "ok")[1:]} == {
        "berth_source = local (pytest.ini)",
        "berth_export = DATABASE_URL = {pg_url} (pytest.ini)",
        "berth_pg_lock_timeout = 7 (BERTH_PG_LOCK_TIMEOUT)",
        "berth_services = mailpit = axllent/mailpit:v1.20 smtp:1025 (pytest.ini)",
        "berth_snapshots = off (BERTH_SNAPSHOTS)",
    }
    client, serves, *_ = about(lines, "postgres", "ok")
    assert client.startswith("client: psycopg 3.")
    assert serves.startswith("local serves (berth_source = local (pytest.ini)): ")
    assert not about(lines, "redis", "ok")
    # What the settings declare can be had from an engine only.
    assert "local cannot serve: " in about(lines, "mailpit", "failure")[0]
    # But the settings want none.
    (engine,) = about(lines, "engine", "ok")
    assert engine.startswith("no container engine answers: ")


def test_it_tells_what_is_wrong_and_what_to_do(project: Project, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    cache.chmod(0o777)
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = foreign.getsockname()[1]
        project.ini(
            "berth_pg_version = 99",
            "berth_pg_source = local",
            f"berth_pg_port = {port}",
            "berth_start_timeout = soon",
            "berth_redis_url = redis://127.0.0.1:1",
        )
        status, lines = doctor(
            project, "pg", "redis", "psotgres", **NO_ENGINE, BERTH_CACHE=str(cache)
        )

    assert status == 2
    (unknown,) = about(lines, "versions", "failure")
    assert unknown.startswith("there is no service 'psotgres'\ndid you mean 'postgres'?")
    (wrong,) = about(lines, "settings", "failure")
    assert "berth_start_timeout has a value that cannot be used.\n'soon'" in wrong
    taken, version = about(lines, "postgres", "failure")
    assert taken.startswith(f"berth_pg_port = {port} (pytest.ini): the port is taken: ")
    assert f"pid {os.getpid()}" in taken
    assert taken.endswith("\nend what listens there, or leave berth_pg_port out")
    assert "local cannot serve: there are no binaries of PostgreSQL 99 " in version
    (silent,) = about(lines, "redis", "failure")
    assert "external serves" in silent
    assert "does not answer as it should" in silent
    (trust,) = about(lines, "cache", "failure")
    assert f"others may write to {cache}" in trust
    (engine,) = about(lines, "engine", "warning")
    assert "start Docker or Podman" in engine


@pytest.mark.parametrize("ini", ["", "berth_pg_version = 17\n"], ids=["none", "broken"])
def test_it_works_without_a_project_and_with_a_broken_one(ini: str, project: Project) -> None:
    (project.root / "pytest.ini").write_text(ini)

    ended = command(project, "doctor", "postgres", **NO_ENGINE, NO_COLOR="1")

    lines = ended.stdout.splitlines()
    assert any(line.startswith("ok       versions   pytest-berth ") for line in lines), ended
    assert any(" disk " in line and " GB free in " in line for line in lines)
    assert ("failure  settings   the project's settings cannot be read." in lines) is bool(ini)
    if ini:
        assert f"{'':20}{project.root / 'pytest.ini'}:1: no section header defined" in lines
        assert ended.returncode == 2
    assert "\x1b" not in ended.stdout


def test_a_broken_environment_does_not_stop_it(project: Project, tmp_path: Path) -> None:
    (tmp_path / "docker.py").write_text("raise ImportError('docker is broken here')")
    project.ini("berth_source = container")

    status, lines = doctor(project, "redis", PYTHONPATH=str(tmp_path))

    assert status == 2
    assert "docker is broken here" in about(lines, "engine", "failure")[0]
    assert "docker is broken here" in about(lines, "redis", "failure")[0]
    assert about(lines, "memory", "ok") or about(lines, "memory", "warning")


def test_it_is_no_failure_that_nothing_can_be_downloaded(project: Project, tmp_path: Path) -> None:
    (tmp_path / "platformdirs.py").write_text("raise ImportError('not installed')")
    project.ini("berth_source = container")

    _, lines = doctor(project, PYTHONPATH=str(tmp_path), BERTH_CACHE="")

    assert 'pip install "pytest-berth[local]"' in about(lines, "cache", "ok")[0]


def test_services_whose_packages_are_missing_are_told_where_nobody_names_one(
    project: Project, tmp_path: Path
) -> None:
    blocked = "import sys; sys.modules.update(dict.fromkeys(['kafka', 'psycopg', 'redis']))"
    (tmp_path / "sitecustomize.py").write_text(blocked)
    project.ini()
    _, lines = doctor(project, **NO_ENGINE, PYTHONPATH=str(tmp_path))

    (told,) = about(lines, "services", "ok")
    assert told.startswith("not looked at, as their Python packages are not installed: ")
    names = told.splitlines()[0].partition(": ")[2].split(", ")
    assert {"postgres", "redis", "kafka"} <= set(names)
    assert 'pip install "pytest-berth[' in told

    project.ini("berth_redis_version = 8")
    _, lines = doctor(project, **NO_ENGINE, PYTHONPATH=str(tmp_path))
    assert not about(lines, "services", "ok")


def test_what_dead_runs_have_left_is_a_warning(project: Project, tmp_path: Path) -> None:
    left = subprocess.run(
        [sys.executable, "-c", LEAVE_A_DIRECTORY],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()

    _, lines = doctor(project, "redis", **NO_ENGINE, TMPDIR=str(tmp_path))

    (warning,) = about(lines, "leftovers", "warning")
    assert warning == f"dead runs have left {left}\npytest-berth prune"
