"""Redis servers that tests work on directly, and projects on each source."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from ini_settings import settings
from pytest_berth.run.run import MAIN, Run
from pytest_berth.run.server_manager import Manager
from pytest_berth.services.redis import clients, urls
from pytest_berth.services.redis.service import REDIS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import redis

    from conftest import Project
    from pytest_berth.api import Server, Service


@dataclass
class Quiet:
    """Progress that nobody looks at."""

    def note(self, text: str) -> None:
        """Forget a line."""

    def update(self, label: str, done: int, total: int | None) -> None:
        """Forget a download's progress."""

    def phase(self, what: str, text: str) -> None:
        """Forget what is being done."""


@dataclass
class Yard:
    """Starts servers, and serves them as if they were somebody else's."""

    root: Path
    managers: list[Manager] = field(default_factory=list)

    def start(self, source: str, **given: Any) -> Server:
        """Start a server of a run of its own; settings are given as in an ini file."""
        given["berth_source"] = source
        run = Run(os.urandom(4).hex(), MAIN)
        manager = Manager(run, settings(REDIS, self.root, **given), [REDIS], Quiet())
        self.managers.append(manager)
        return manager.server(REDIS)

    def foreign(self, databases: int = 16) -> Server:
        """Start a server, and return it as a given URL names it."""
        started = self.start("local", berth_redis_settings=[f"databases = {databases}"])
        return urls.server(urls.url(started, 0), "berth_redis_url is set")

    def end(self) -> None:
        """Stop every server."""
        while self.managers:
            self.managers.pop().stop()


@pytest.fixture
def yard(tmp_path: Path, require_service: Callable[[Service, str], None]) -> Iterator[Yard]:
    """Servers that are gone when the test ends."""
    require_service(REDIS, "local")
    made = Yard(tmp_path)
    yield made
    made.end()


@pytest.fixture
def connect() -> Iterator[Callable[..., redis.Redis]]:
    """Return a function that connects to a database number of a server."""
    opened: list[redis.Redis] = []

    def open_(server: Server, database: int = 0) -> redis.Redis:
        opened.append(clients.client(urls.url(server, database)))
        return opened[-1]

    yield open_
    for client in opened:
        client.close()


@pytest.fixture
def local(
    project: Project,
    require_service: Callable[[Service, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Project:
    """A project whose Redis is a local process."""
    require_service(REDIS, "local")
    monkeypatch.setenv("BERTH_REDIS_SOURCE", "local")
    return project
