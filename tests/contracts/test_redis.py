"""What a Redis server is like, and what tests get of it, wherever it comes from."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import psutil
import pytest
import redis

from marks import nightly
from pytest_berth.services.redis import clients, urls
from pytest_berth.services.redis.service import REDIS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import Berthed, Stage

    from conftest import Project
    from pytest_berth.api import Service

FIT_FOR_TESTS = {"save": "", "appendonly": "no", "databases": "256"}


@pytest.fixture
def stage(stage_of: Callable[[Service], Stage]) -> Stage:
    """Make runs whose servers are gone when the test ends."""
    return stage_of(REDIS)


@pytest.fixture(scope="module")
def berthed_by_source(
    servers_of: Callable[[Service], Callable[[str], Berthed]],
) -> Callable[[str], Berthed]:
    """Return a function that gives one server of a source, the same one to every test."""
    return servers_of(REDIS)


@pytest.fixture(params=["container", "local", "external"])
def redis_source(
    request: pytest.FixtureRequest,
    project: Project,
    berthed_by_source: Callable[[str], Berthed],
    monkeypatch: pytest.MonkeyPatch,
) -> str:
    """Each source in turn, set up for the runs of `project`."""
    name = str(request.param)
    berthed = berthed_by_source(name)
    monkeypatch.setenv("BERTH_REDIS_SOURCE", name)
    if name == "external":
        monkeypatch.setenv("BERTH_REDIS_URL", berthed.url)
    return name


def test_the_server_answers_and_tells_its_version(berthed: Berthed) -> None:
    with clients.closing(clients.client(berthed.url)) as client:
        info = client.info("server")
    assert berthed.server.version.split()[0] in {info["redis_version"], info.get("valkey_version")}


def test_a_value_comes_back_from_the_number_that_it_was_written_to(started: Berthed) -> None:
    one, other = (clients.client(urls.url(started.server, number)) for number in (0, 255))
    with clients.closing(one), clients.closing(other):
        one.set("contract", "ä", px=10_000)
        assert one.get("contract") == "ä".encode()
        assert other.get("contract") is None


def test_one_line_tells_what_runs_where_and_why(berthed: Berthed) -> None:
    (line,) = [line for line in berthed.notes if line.startswith("redis ")]
    server = berthed.server
    place = f"{server.host}:{server.port}"
    for part in (server.version, server.source, server.detail, place, server.reason):
        assert part
        assert part in line
    assert server.credentials.password not in line


def test_settings_fit_for_tests_are_in_force(started: Berthed) -> None:
    assert _settings(started, *FIT_FOR_TESTS) == FIT_FOR_TESTS


def test_settings_of_the_user_are_in_force_and_go_first(starting: str, stage: Stage) -> None:
    lines = ["maxmemory = 64mb", "databases = 300", "# a comment"]
    berthed = stage.start(starting, berth_redis_settings=lines)
    assert _settings(berthed, "maxmemory", "databases", "appendonly") == {
        "maxmemory": "67108864",
        "databases": "300",
        "appendonly": "no",
    }


def test_only_loopback_addresses_listen(started: Berthed) -> None:
    listening = {
        entry.laddr.ip
        for entry in psutil.net_connections("tcp")
        if entry.status == psutil.CONN_LISTEN and entry.laddr.port == started.server.port
    }
    assert listening == {"127.0.0.1"}


@pytest.mark.parametrize("account", ["", ":wrong@"])
def test_nobody_gets_in_without_the_password(started: Berthed, account: str) -> None:
    url = f"redis://{account}{started.server.host}:{started.server.port}/0"
    with clients.closing(clients.client(url)) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_the_password_is_in_no_representation(berthed: Berthed) -> None:
    password = berthed.server.credentials.password
    assert password
    assert password not in f"{berthed.server!r} {berthed.server}"


def test_a_running_server_has_not_ended(berthed: Berthed) -> None:
    assert berthed.source.exit_status(berthed.server) is None


def test_the_log_can_be_read_since_a_mark(started: Berthed) -> None:
    mark = started.source.log_position(started.server)
    assert "Ready to accept connections" in started.source.log(started.server, 0)
    assert "Ready to accept connections" not in started.source.log(started.server, mark)


def test_another_process_of_the_run_can_read_the_server_from_the_registry(berthed: Berthed) -> None:
    assert berthed.manager.registry.read("ready", "redis") == berthed.server
    noted = berthed.manager.run.directory / "redis.ready.json"
    assert json.loads(noted.read_text())["version"] == berthed.server.version
    assert noted.stat().st_mode & 0o077 == 0


def test_a_stopped_local_server_leaves_neither_process_nor_directory(
    stage: Stage, require_service: Callable[[Service, str], None]
) -> None:
    require_service(REDIS, "local")
    handle = stage.start("local").server.handle
    directory, process = Path(handle["directory"]), psutil.Process(handle["pid"])
    assert (directory / "redis.conf").stat().st_mode & 0o077 == 0
    stage.end()
    assert not directory.exists()
    with suppress(psutil.NoSuchProcess):
        assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def test_a_stopped_container_is_gone(stage: Stage, client: docker.DockerClient) -> None:
    name = stage.start("container").server.handle["container"]
    assert client.containers.get(name).status == "running"
    stage.end()
    with pytest.raises(docker.errors.NotFound):
        client.containers.get(name)


def test_an_external_server_lives_on_with_what_it_held(
    stage: Stage, require_service: Callable[[Service, str], None]
) -> None:
    require_service(REDIS, "external")
    foreign = stage.start()
    with clients.closing(clients.client(foreign.url)) as client:
        client.set("precious", 1)
        berthed = stage.start("external", berth_redis_url=foreign.url)
        berthed.manager.stop()
        assert client.keys() == [b"precious"]


@pytest.mark.usefixtures("redis_source")
def test_each_test_begins_with_an_empty_database(project: Project) -> None:
    project.write(
        test_one="""
        import redis
        def test_client(redis_client):
            assert redis_client.dbsize() == 0
            redis_client.set("name", "ä")
            assert redis_client.get("name") == "ä".encode()

        def test_url(redis_url, redis_client):
            assert redis_client.keys() == []
            with redis.Redis.from_url(redis_url) as application:
                application.rpush("list", 1, 2)

        def test_server(redis_server, redis_client):
            assert redis_client.keys() == []
            assert redis_server.version.split(".")[0].isdigit()
        """
    )
    project.run("-p", "no:randomly").assert_outcomes(passed=3)


@pytest.mark.usefixtures("redis_source")
@pytest.mark.parametrize(
    "redis_source", ["local", "external", *nightly("container")], indirect=True
)
def test_workers_never_meet(project: Project) -> None:
    project.plugins = ("xdist",)
    project.write(
        test_many="""
        import os
        import pytest

        @pytest.mark.parametrize("number", range(40))
        def test_alone(redis_client, number):
            assert redis_client.dbsize() == 0
            for _ in range(20):
                redis_client.incr("count")
            assert redis_client.get("count") == b"20"
        """
    )
    project.run("-n", "2").assert_outcomes(passed=40)


@pytest.mark.usefixtures("redis_source")
@pytest.mark.parametrize(
    "redis_source", ["container", *nightly("local", "external")], indirect=True
)
def test_the_application_finds_its_worker_s_database_in_the_environment(project: Project) -> None:
    project.plugins = ("xdist",)
    project.ini(
        "berth_export =",
        "    REDIS_URL = {redis_url}",
        "    REDIS = {redis_host} {redis_port} {redis_db} {redis_password}",
    )
    project.conftest('import os; EARLY = os.environ["REDIS_URL"]')
    project.write(
        test_exported="""
        import os
        import conftest
        import pytest
        import redis
        @pytest.mark.parametrize("number", range(6))
        def test_same(redis_url, redis_client, number):
            assert os.environ["REDIS_URL"] == redis_url == conftest.EARLY
            with redis.Redis.from_url(os.environ["REDIS_URL"]) as application:
                application.set("key", os.environ["REDIS"].split()[2])
            database = redis_client.connection_pool.connection_kwargs["db"]
            assert redis_client.get("key") == str(database).encode()
        """
    )
    project.run("-n", "2").assert_outcomes(passed=6)


@pytest.mark.usefixtures("redis_source")
@pytest.mark.parametrize(
    "redis_source", ["local", *nightly("container", "external")], indirect=True
)
def test_tests_are_marked_as_integration_tests(project: Project) -> None:
    project.write(test_one="def test_redis(redis_url): pass\ndef test_unit(): pass")
    result = project.run("-m", "not integration")
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.no_fnmatch_line("*redis * ready in*")


@pytest.mark.usefixtures("redis_source")
def test_the_password_is_in_no_output_and_no_command_line(project: Project) -> None:
    project.write(
        test_one="""
        from urllib.parse import urlsplit

        def test_fails(redis_url, redis_client):
            open("password", "w").write(urlsplit(redis_url).password)
            print(redis_url, redis_client)
            assert not redis_url
        """
    )
    result = project.run("-l", "-vv")
    result.assert_outcomes(failed=1)
    password = (project.root / "password").read_text()
    assert len(password) == 32
    assert password not in result.stdout.str() + result.stderr.str()
    assert password not in "".join(_command_lines())


@pytest.mark.usefixtures("redis_source")
@pytest.mark.parametrize("redis_source", ["local", *nightly("container")], indirect=True)
def test_a_marked_test_has_a_server_of_its_own(project: Project) -> None:
    project.write(
        test_own="""
        import pytest

        def test_shared(redis_server):
            pytest.shared = redis_server.port

        @pytest.mark.berth_redis(scope="test")
        def test_own(redis_server, redis_client, redis_url, request):
            assert redis_server.port != pytest.shared
            assert f":{redis_server.port}/0" in redis_url
            assert request.getfixturevalue("redis_url") == redis_url
            redis_client.config_set("maxmemory", "10mb")
            redis_client.set("key", 1)

        @pytest.mark.berth_redis(scope="test")
        def test_asked_for_while_it_runs(request):
            assert request.getfixturevalue("redis_server").port != pytest.shared
            assert request.getfixturevalue("redis_client").keys() == []

        def test_shared_again(redis_server, redis_client):
            assert redis_server.port == pytest.shared
            assert redis_client.config_get("maxmemory") == {"maxmemory": "0"}
            assert redis_client.keys() == []
        """
    )
    project.run().assert_outcomes(passed=4)


def _settings(berthed: Berthed, *names: str) -> dict[str, str]:
    with clients.closing(clients.client(berthed.url)) as client:
        return {name: client.config_get(name)[name] for name in names}


def _command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text(errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
