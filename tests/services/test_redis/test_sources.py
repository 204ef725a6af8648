"""What a test gets of Redis, wherever the server comes from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

pytestmark = pytest.mark.usefixtures("redis_source")


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


def test_tests_are_marked_as_integration_tests(project: Project) -> None:
    project.write(test_one="def test_redis(redis_url): pass\ndef test_unit(): pass")
    result = project.run("-m", "not integration")
    result.assert_outcomes(passed=1, deselected=1)
    result.stdout.no_fnmatch_line("*redis * ready in*")


def test_the_password_is_in_no_output(project: Project) -> None:
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


def _command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text(errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found
