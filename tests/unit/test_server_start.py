"""Servers of several services start at the same time, each of them once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, cast

import pytest

from pytest_berth.api import Backend, Container, Credentials, Namespace, Server, Service, Worker
from pytest_berth.config.options import OPTIONS, SOURCE, Setting, Settings, defaults
from pytest_berth.errors import StartError
from pytest_berth.run.run import MAIN, Run
from pytest_berth.run.server_manager import Manager
from pytest_berth.services.kafka.service import KAFKA
from pytest_berth.sources import os_account

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path


class Quiet:
    """Progress that nobody sees."""

    def note(self, text: str) -> None:
        """Forget a line."""

    def update(self, label: str, done: int, total: int | None) -> None:
        """Forget a download's progress."""

    def phase(self, what: str, text: str) -> None:
        """Forget what is being done."""


class Meeting(Backend):
    """A service that is ready as soon as it is waited for together with others."""

    def __init__(self, service: Service, together: threading.Barrier) -> None:
        super().__init__(service)
        self.together = together
        self.probed = 0

    def external(self, settings: Settings) -> Server | None:
        """Return a server that is there already."""
        return Server(self.service.name, "external", "127.0.0.1", 1, Credentials("", "", ""))

    def probe(self, server: Server) -> str:
        """Wait for the others."""
        self.probed += 1
        self.together.wait(30)
        return "1"

    def container(self, settings: Settings, account: Credentials) -> Container:
        """Have no container: what is there already serves."""
        raise NotImplementedError

    def open(self, server: Server, worker: Worker) -> AbstractContextManager[Namespace]:
        """Have no namespace: no test needs one."""
        raise NotImplementedError


def meeting(name: str, together: threading.Barrier) -> Service:
    """Return such a service; its settings are those of Kafka."""
    made = partial(Meeting, together=together)
    return Service(name, made, prefix="kafka", options=KAFKA.options)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Run]:
    """A run without a reaper."""
    monkeypatch.setattr("pytest_berth.run.reaper.start", lambda directory: None)
    made = Run("0123abcd", MAIN)
    yield made
    made.remove()


def manager_of(run: Run, root: Path, *services: Service) -> Manager:
    """Return the servers-to-be of a run, all of them external ones."""
    settings = defaults(root, [*OPTIONS, *KAFKA.options])
    values = {**settings.values, SOURCE.name: Setting("external", "test")}
    return Manager(run, Settings(root, values), services, Quiet())


def test_servers_of_several_services_start_side_by_side(run: Run, tmp_path: Path) -> None:
    together = threading.Barrier(3)
    services = [meeting(name, together) for name in ("one", "two", "three")]
    manager = manager_of(run, tmp_path, *services)
    with ThreadPoolExecutor(3) as pool:
        servers = list(pool.map(manager.server, services))
    assert [server.service for server in servers] == ["one", "two", "three"]


def test_threads_that_want_the_same_server_start_it_once(run: Run, tmp_path: Path) -> None:
    service = meeting("one", threading.Barrier(1))
    manager = manager_of(run, tmp_path, service)
    with ThreadPoolExecutor(4) as pool:
        servers = list(pool.map(manager.server, [service] * 8))
    assert cast("Meeting", service.backend).probed == 1
    assert all(server is servers[0] for server in servers)


def test_a_program_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"none could not be run\."):
        os_account.run([str(tmp_path / "none")], tmp_path)
