"""A RabbitMQ that berth starts as a local process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from pytest_berth import wait_for
from pytest_berth.services.rabbitmq.service import RABBITMQ

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project
    from pytest_berth.api import Service


@pytest.fixture(autouse=True)
def local(
    project: Project,
    require_service: Callable[[Service, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Let runs start a local server; skip where there is none."""
    require_service(RABBITMQ, "local")
    monkeypatch.setenv("BERTH_RABBITMQ_SOURCE", "local")


def test_nothing_of_it_is_seen_by_others_or_stays(project: Project) -> None:
    """No epmd, no password on a command line, loopback only."""
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


def test_a_server_in_the_place_of_a_lost_one_has_its_management_api_at_the_same_address(
    project: Project,
) -> None:
    project.write(
        test_it="""
            from urllib.error import HTTPError
            from urllib.request import urlopen

            import psutil
            import pytest

            def test_loses_it(rabbitmq_server, rabbitmq_management_url, rabbitmq_channel):
                process = psutil.Process(rabbitmq_server.server.handle["pid"])
                process.kill()
                process.wait(30)
                raise ConnectionError("it was killed")

            def test_next(rabbitmq_channel, rabbitmq_management_url):
                rabbitmq_channel.queue_declare("orders")
                with pytest.raises(HTTPError, match="401"):
                    urlopen(f"{rabbitmq_management_url}/api/overview", timeout=20)
        """
    )
    project.run("-p", "no:randomly").assert_outcomes(passed=1, failed=1, errors=1)


def lives(pid: int) -> bool:
    """Tell whether a process is there that has not ended, and only waits to be asked how."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
