"""A RabbitMQ that berth starts as a local process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from pytest_berth import wait_for
from pytest_berth.services.rabbitmq.service import RABBITMQ

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from conftest import Project
    from pytest_berth.api import Service


def test_nothing_of_it_is_seen_by_others_or_stays(
    project: Project,
    require_service: Callable[[Service, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No epmd, no password on a command line, loopback only."""
    require_service(RABBITMQ, "local")
    monkeypatch.setenv("BERTH_RABBITMQ_SOURCE", "local")
    project.write(
        test_it="""
            import pathlib

            import psutil

            def test_it(rabbitmq_channel, rabbitmq_server):
                server = rabbitmq_server.server
                process = psutil.Process(server.handle["pid"])
                family = [process, *process.children(recursive=True)]
                assert "epmd" not in [each.name() for each in family]
                assert server.credentials.password not in str([each.cmdline() for each in family])
                listening = {
                    (each.laddr.ip, each.laddr.port)
                    for each in process.net_connections()
                    if each.status == psutil.CONN_LISTEN
                }
                assert {ip for ip, _ in listening} == {"127.0.0.1"}
                assert len(listening) == 3
                pathlib.Path("pids.txt").write_text(" ".join(str(each.pid) for each in family))
                pathlib.Path("directory.txt").write_text(server.handle["directory"])
        """
    )
    project.run().assert_outcomes(passed=1)
    pids = [int(pid) for pid in (project.root / "pids.txt").read_text().split()]
    wait_for(lambda: not any(map(lives, pids)), 60)
    assert not Path((project.root / "directory.txt").read_text()).exists()


def lives(pid: int) -> bool:
    """Tell whether a process is there that has not ended, and only waits to be asked how."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
