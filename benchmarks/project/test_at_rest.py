"""One test, which writes down how much memory the server takes that it has been given."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import pytest

    from pytest_berth.api import Server

PREFIX = os.environ["BENCHMARK_PREFIX"]


def test_server_answers(request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(f"{PREFIX}_server").server
    time.sleep(float(os.environ["BENCHMARK_REST"]))
    told = {"memory": memory(server), "server": f"{server.service} {server.version}"}
    Path(os.environ["BENCHMARK_TOLD"]).write_text(json.dumps(told), encoding="utf-8")


def memory(server: Server) -> int:
    """Return the bytes of the server's processes; what these share counts once."""
    first = psutil.Process(pid(server))
    return sum(each.memory_full_info().pss for each in (first, *first.children(recursive=True)))


def pid(server: Server) -> int:
    """Return the id of the server's first process, as this machine's kernel counts."""
    if server.source == "local":
        return int(server.handle["pid"])
    import docker

    container = docker.from_env().containers.get(server.handle["container"])
    return int(container.attrs["State"]["Pid"])
