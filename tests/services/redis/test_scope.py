"""Who shares a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil
import pytest

if TYPE_CHECKING:
    from tests.services.redis.conftest import Yard

    from conftest import Project

ADDRESSES = """
    import pytest

    @pytest.mark.parametrize("number", range(6))
    def test_address(redis_server, redis_client, redis_url, worker_id, number):
        assert f":{redis_server.port}/" in redis_url
        with open("addresses", "a") as file:
            print(worker_id, redis_server.port, redis_client.client_id(), file=file)
"""


def addresses(project: Project) -> dict[str, set[str]]:
    """Return the ports that each worker's tests have seen."""
    found: dict[str, set[str]] = {}
    for line in (project.root / "addresses").read_text().splitlines():
        worker, port, _ = line.split()
        found.setdefault(worker, set()).add(port)
    return found


@pytest.mark.parametrize(("scope", "servers"), [("run", 1), ("worker", 2), ("test", 6)])
def test_the_scope_says_how_many_servers_there_are(
    local: Project, scope: str, servers: int
) -> None:
    local.plugins = ("xdist",)
    local.ini(f"berth_redis_scope = {scope}")
    local.write(test_addresses=ADDRESSES)
    local.run("-n", "2", "--dist", "load").assert_outcomes(passed=6)
    found = addresses(local)
    assert len(found) == 2
    assert len(set.union(*found.values())) == servers


def test_no_server_of_a_test_outlives_it(local: Project) -> None:
    local.write(
        test_own="""
        import pytest

        @pytest.mark.berth_redis(scope="test")
        def test_own(redis_server):
            open("port", "w").write(str(redis_server.port))

        def test_after():
            import socket
            with socket.socket() as probe:
                assert probe.connect_ex(("127.0.0.1", int(open("port").read())))
        """
    )
    local.run("-o", "berth_order=none").assert_outcomes(passed=2)
    port = int((local.root / "port").read_text())
    listening = {
        entry.laddr.port
        for entry in psutil.net_connections("tcp")
        if entry.status == psutil.CONN_LISTEN
    }
    assert port not in listening


def test_an_external_server_cannot_be_had_for_oneself(
    project: Project, yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pytest_berth.services.redis import urls

    monkeypatch.setenv("BERTH_REDIS_URL", urls.url(yard.foreign(), 0))
    project.write(
        test_own="""
        import pytest

        @pytest.mark.berth_redis(scope="test")
        def test_own(redis_client): pass
        """
    )
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "redis at a given URL is shared: no worker or test can have it for itself.",
            "  why: *berth_redis_url is set",
            "  do:  berth_redis_source = container (or local)*",
        ]
    )
    project.run("-o", "berth_missing=skip").assert_outcomes(skipped=1)


def test_a_marker_can_ask_for_nothing_else(local: Project) -> None:
    local.write(
        test_wrong="""
        import pytest

        @pytest.mark.berth_redis(scope="worker")
        def test_wrong(redis_client): pass
        """
    )
    result = local.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: a marker cannot set the scope 'worker'.",
            "  why: @pytest.mark.berth_redis(scope=...) at test_wrong.py::test_wrong*",
            "  do:  use scope='test' here, or berth_redis_scope = worker in the ini file",
        ]
    )


def test_exported_settings_cannot_follow_each_test_to_its_own_server(local: Project) -> None:
    local.ini("berth_redis_scope = test", "berth_export = REDIS_URL = {redis_url}")
    local.write(test_one="def test_one(redis_client): pass")
    result = local.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*berth_export cannot tell the application of a server*"])
