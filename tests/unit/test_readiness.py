"""A server that answers is taken for the one that was launched only where that can be so."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_berth.api import Backend, Container, Credentials, Namespace, Server, Service, Worker
from pytest_berth.config.options import OPTIONS, defaults
from pytest_berth.errors import StartError
from pytest_berth.run.readiness import wait_until_ready
from pytest_berth.sources.local import Local

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    from pytest_berth.config.options import Settings


class Credulous(Backend):
    """A service that takes whoever answers for its server."""

    def probe(self, server: Server) -> str:
        """Return a version without asking."""
        return "1"

    def container(self, settings: Settings, account: Credentials) -> Container:
        """Have no container: no server is launched."""
        raise NotImplementedError

    def open(self, server: Server, worker: Worker) -> AbstractContextManager[Namespace]:
        """Have no namespace: no test needs one."""
        raise NotImplementedError


class Quiet:
    """Progress that nobody sees."""

    def note(self, text: str) -> None:
        """Forget a line."""

    def update(self, label: str, done: int, total: int | None) -> None:
        """Forget a download's progress."""

    def phase(self, what: str, text: str) -> None:
        """Forget what is being done."""


def test_the_place_of_a_lost_server_is_not_taken_from_another_one(tmp_path: Path) -> None:
    service = Service("toy", Credulous, version="1")
    settings = defaults(tmp_path, [*OPTIONS, *service.options])
    source = Local(settings, "0123abcd")

    def require(process: psutil.Process | subprocess.Popen[bytes], port: int) -> str:
        """Wait for the server of a process, which has been launched in a lost one's place."""
        handle = {
            "pid": process.pid,
            "created": psutil.Process(process.pid).create_time(),
            "directory": str(tmp_path),
        }
        account = Credentials("", "", "")
        server = Server("toy", "local", "127.0.0.1", port, account, handle=handle, restarts=1)
        return wait_until_ready(service, source, server, settings, Quiet(), lambda: None)

    launched = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            assert require(psutil.Process(), port) == "1"
            with pytest.raises(StartError) as caught:
                require(launched, port)
    finally:
        launched.communicate(b"\n")
    assert "another server has taken the port of the toy that was lost." in str(caught.value)
    assert f"(pid {os.getpid()}) listens there" in str(caught.value)
