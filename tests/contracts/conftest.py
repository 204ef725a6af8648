"""Servers of every source, started and stopped by the plugin's own lifecycle."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import docker
import psycopg
import pytest

from ini_settings import settings
from pytest_berth.run.run import MAIN, Run
from pytest_berth.run.server_manager import Manager
from pytest_berth.services.kafka import urls as kafka_urls
from pytest_berth.services.postgres import urls
from pytest_berth.services.postgres.service import POSTGRES
from pytest_berth.services.redis import urls as redis_urls
from pytest_berth.sources.container import ContainerSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_berth.api import Server, Service, Source

SOURCES = ("container", "local", "external")
STARTED = ("container", "local")
# What the setting of its URL takes.
URLS: dict[str, Callable[[Server], str]] = {
    "postgres": lambda server: urls.url(server, server.credentials.database),
    "redis": lambda server: redis_urls.url(server, 0),
    "kafka": kafka_urls.bootstrap,
}


@dataclass
class Notes:
    """Progress that is kept, to be looked at."""

    lines: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep a line."""
        self.lines.append(text)

    def update(self, label: str, done: int, total: int | None) -> None:
        """Forget a download's progress."""

    def phase(self, what: str, text: str) -> None:
        """Forget what is being done."""


@dataclass
class Stage:
    """Makes runs with a service, each with settings of its own, and ends them all."""

    root: Path
    service: Service = POSTGRES
    managers: list[Manager] = field(default_factory=list)

    def manager(self, source: str = "auto", **given: Any) -> Manager:
        """Return the servers-to-be of a run; settings are given as in an ini file."""
        given["berth_source"] = source
        run = Run(os.urandom(4).hex(), MAIN)
        made = Manager(run, settings(self.service, self.root, **given), [self.service], Notes())
        self.managers.append(made)
        return made

    def start(self, source: str = "auto", **given: Any) -> Berthed:
        """Start a server as the first test of a run does."""
        manager = self.manager(source, **given)
        server = manager.server(self.service)
        return Berthed(manager, server, manager.source(server))

    def end(self) -> None:
        """End every run."""
        while self.managers:
            manager = self.managers.pop()
            manager.stop()
            source = manager.candidates["container"]
            if isinstance(source, ContainerSource) and source._engine is not None:
                source.engine.client.client.close()


@dataclass(frozen=True)
class Berthed:
    """A server that answers, the run that it belongs to and the source that it came from."""

    manager: Manager
    server: Server
    source: Source

    @property
    def url(self) -> str:
        """Its address as ``berth_*_url`` takes it; of Postgres, the administrator's database."""
        return URLS[self.server.service](self.server)

    @property
    def dsn(self) -> str:
        """Of Postgres, the same for libpq."""
        return urls.dsn(self.server, self.server.credentials.database)

    @property
    def notes(self) -> list[str]:
        """The lines that the user has seen."""
        progress = self.manager.progress
        assert isinstance(progress, Notes)
        return progress.lines

    def container(self) -> Any:
        """Return the container as the engine knows it now."""
        assert isinstance(self.source, ContainerSource)
        return self.source.engine.containers.get(self.server.handle["container"])

    def query(self, statement: str) -> Any:
        """Return the first value of a statement's result, of Postgres."""
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            row = connection.execute(statement.encode()).fetchone()
        return row[0] if row else None


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Make runs whose servers are gone when the test ends."""
    made = Stage(tmp_path)
    yield made
    made.end()


@pytest.fixture
def stage_of(tmp_path: Path) -> Iterator[Callable[[Service], Stage]]:
    """Return a function that gives the same for another service than Postgres."""
    with ExitStack() as stages:

        def give(service: Service) -> Stage:
            made = Stage(tmp_path, service)
            stages.callback(made.end)
            return made

        yield give


@pytest.fixture
def client(require_source: Callable[[str], None]) -> Iterator[docker.DockerClient]:
    """Give a client of the container engine."""
    require_source("container")
    with closing(docker.from_env()) as made:
        yield made


@pytest.fixture(scope="session")
def berthed_by_source(
    tmp_path_factory: pytest.TempPathFactory, require_service: Callable[[Service, str], None]
) -> Iterator[Callable[[str], Berthed]]:
    """Return a function that gives one server of a source, the same one to every test."""
    with _one_of_each(Stage(tmp_path_factory.mktemp("contracts")), require_service) as give:
        yield give


@pytest.fixture(scope="module")
def servers_of(
    tmp_path_factory: pytest.TempPathFactory, require_service: Callable[[Service, str], None]
) -> Iterator[Callable[[Service], Callable[[str], Berthed]]]:
    """Return a function that gives the same for another service, to the tests of a module."""
    with ExitStack() as opened:

        def give(service: Service) -> Callable[[str], Berthed]:
            stage = Stage(tmp_path_factory.mktemp("contracts"), service)
            return opened.enter_context(_one_of_each(stage, require_service))

        yield give


@contextmanager
def _one_of_each(
    stage: Stage, require: Callable[[Service, str], None]
) -> Iterator[Callable[[str], Berthed]]:
    servers: dict[str, Berthed] = {}

    def give(source: str) -> Berthed:
        require(stage.service, source)
        if source not in servers:
            # An external server is somebody else's: here, one that another run has started.
            url = f"berth_{stage.service.prefix}_url"
            given = {url: stage.start().url} if source == "external" else {}
            servers[source] = stage.start(source, **given)
        return servers[source]

    try:
        yield give
    finally:
        stage.end()


@pytest.fixture(params=SOURCES)
def berthed(request: pytest.FixtureRequest, berthed_by_source: Callable[[str], Berthed]) -> Berthed:
    """Give a server of each source in turn; tests leave it as it is."""
    return berthed_by_source(request.param)


@pytest.fixture(params=STARTED)
def started(request: pytest.FixtureRequest, berthed_by_source: Callable[[str], Berthed]) -> Berthed:
    """Give a server of each source that starts servers; tests leave it as it is."""
    return berthed_by_source(request.param)


@pytest.fixture(params=STARTED)
def starting(
    request: pytest.FixtureRequest, stage: Stage, require_service: Callable[[Service, str], None]
) -> str:
    """Give the name of each source that starts servers."""
    require_service(stage.service, request.param)
    return str(request.param)
