"""``pytest-berth install``: what is fetched ahead of time, listed and missed."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from conftest import TIMEOUT
from pytest_berth.services.redis.service import REDIS

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Project
    from pytest_berth.api import Service


def install(
    project: Project, *arguments: str, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run the command in the project's directory."""
    ended = subprocess.run(
        [sys.executable, "-m", "pytest_berth.cli", "install", *arguments],
        cwd=project.root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )
    assert "Traceback" not in ended.stderr
    return ended


def test_what_is_there_is_listed_with_its_place(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.ini("berth_source = local", "berth_export = DATABASE_URL = {pg_url}")

    listed = install(project, "--list")
    checked = install(project, "--check")
    fetched = install(project)

    assert listed.stdout.startswith("there    postgres    local      ")
    assert (checked.returncode, checked.stdout) == (0, "")
    assert (fetched.returncode, fetched.stdout) == (0, listed.stdout)


def test_what_is_missing_is_told_and_cannot_always_be_had(project: Project, tmp_path: Path) -> None:
    cache, mirror = tmp_path / "cache", tmp_path / "empty"
    mirror.mkdir()
    project.ini("berth_source = local", f"berth_artifact_mirror = file://{mirror}")
    environment = {"BERTH_CACHE": str(cache)}

    checked = install(project, "redis:6", "--check", **environment)
    if "there is no server of Redis 6" in checked.stderr:
        pytest.skip("no Redis 6 is pinned for this machine")
    fetched = install(project, "redis:6", **environment)

    assert checked.returncode == 1, checked
    assert checked.stdout.startswith("missing  redis       local      ")
    assert f"  {cache}" in checked.stdout
    assert "berth: something is missing; do: pytest-berth install" in checked.stderr
    assert fetched.returncode == 1
    assert "  do:  " in fetched.stderr
    assert not [*cache.glob("*.partial")]


def test_an_image_is_there_or_missing(
    project: Project, require_service: Callable[[Service, str], None]
) -> None:
    require_service(REDIS, "container")
    project.ini("berth_source = container")

    there = install(project, "redis", "--check")
    other = {"BERTH_REDIS_IMAGE": "berth.invalid/none:1"}
    missing = install(project, "redis", "--check", **other)
    pulled = install(project, "redis", **other)

    assert (there.returncode, there.stdout) == (0, "")
    assert missing.returncode == 1
    assert missing.stdout.startswith("missing  redis       container  berth.invalid/none:1")
    assert pulled.returncode == 1
    assert "could not be pulled" in pulled.stderr


def test_mistakes_are_told(project: Project) -> None:
    project.ini("berth_source = local")

    unknown = install(project, "psotgres")
    version = install(project, "postgres:soon")
    none = install(project, "postgres:99")

    assert (unknown.returncode, version.returncode, none.returncode) == (1, 1, 1)
    assert unknown.stderr.startswith("berth: there is no service 'psotgres'.\n")
    assert "berth_pg_version has a value that cannot be used.\n" in version.stderr
    assert none.stderr.startswith("berth: no source can serve postgres.\n")
    assert "there are no binaries of PostgreSQL 99" in none.stderr
