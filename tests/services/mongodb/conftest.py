"""Servers of MongoDB's protocol that tests work on directly, and projects on one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ini_settings import settings
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.run.run import MAIN, Run
from pytest_berth.run.server_manager import Manager
from pytest_berth.services.mongodb.service import MONGODB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from conftest import Project
    from pytest_berth.api import Server


class Quiet:
    """Progress that nobody looks at."""

    def note(self, text: str) -> None:
        """Forget a line."""

    def update(self, label: str, done: int, total: int | None) -> None:
        """Forget a download's progress."""

    def phase(self, what: str, text: str) -> None:
        """Forget what is being done."""


@pytest.fixture(scope="session")
def program(pytestconfig: pytest.Config) -> None:
    """A program that serves as a local process: no machine has to have one."""
    problem = MONGODB.backend.local_obstacle(pytestconfig.stash[PLUGIN_STATE].settings)
    if problem:
        pytest.skip(str(problem))


@pytest.fixture
def server(tmp_path: Path, program: None) -> Iterator[Server]:
    """A server of a run of its own, gone when the test ends."""
    run = Run(os.urandom(4).hex(), MAIN)
    manager = Manager(run, settings(MONGODB, tmp_path, berth_source="local"), [MONGODB], Quiet())
    yield manager.server(MONGODB)
    manager.stop()


@pytest.fixture
def local(program: None, project: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose MongoDB is a local process."""
    monkeypatch.setenv("BERTH_MONGO_SOURCE", "local")
    return project
