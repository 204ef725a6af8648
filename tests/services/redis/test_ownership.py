"""Another server at the port of one of ours keeps what it holds, whenever it comes there."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import redis

from pytest_berth import wait_for
from pytest_berth.errors import StartError
from pytest_berth.services.redis import binaries, clients
from pytest_berth.services.redis.service import REDIS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.services.redis.conftest import Yard

    from conftest import Project
    from pytest_berth.api import Server

    Take = Callable[[Server, str], redis.Redis]

ACCOUNTS = ["no password", "another password", "the same password"]


class Silent:
    """Progress of a download that nobody looks at."""

    def note(self, text: str) -> None:
        """Forget a line."""

    def update(self, label: str, done: int, total: int | None) -> None:
        """Forget how far it is."""

    def phase(self, what: str, text: str) -> None:
        """Forget what is being done."""


def end(server: Server) -> None:
    """Kill one of our servers, and wait until its port is free."""
    process = psutil.Process(server.handle["pid"])
    process.kill()
    with contextlib.suppress(psutil.NoSuchProcess):
        process.wait(30)


@pytest.fixture
def take(tmp_path: Path) -> Iterator[Take]:
    """Return a function that ends a server, and has another one come to its port."""
    program, ended = binaries.find("", mirror="", progress=Silent()).program, []

    def take_(server: Server, account: str) -> redis.Redis:
        end(server)
        password = {ACCOUNTS[1]: "other", ACCOUNTS[2]: server.credentials.password}.get(account, "")
        line = [str(program), "--port", str(server.port), "--bind", "127.0.0.1", "--save", ""]
        line += ["--requirepass", password] if password else []
        ended.append(subprocess.Popen(line, cwd=tmp_path, stdout=subprocess.DEVNULL))
        client = redis.Redis(port=server.port, password=password or None)
        wait_for(lambda: answers(client), 30)
        client.set("precious", 1)
        redis.Redis(port=server.port, password=password or None, db=3).rpush("list", 1, 2)
        return client

    yield take_
    for process in ended:
        process.kill()
        process.wait()


def answers(client: redis.Redis) -> bool:
    """Tell whether a server is there."""
    with contextlib.suppress(redis.ConnectionError):
        return bool(client.ping())
    return False


def contents(client: redis.Redis) -> dict[object, Any]:
    """Return every byte that a server holds: keys, settings and users."""
    found: dict[object, Any] = {"settings": client.config_get(), "users": client.acl_list()}
    for number in range(16):
        with client.client() as one:
            one.execute_command("SELECT", number)
            for key in one.scan_iter():
                found[number, key] = one.dump(key)
            one.execute_command("SELECT", 0)
    return found


@pytest.mark.parametrize("account", ACCOUNTS)
def test_a_connection_made_anew_reaches_our_server_or_none(
    yard: Yard, take: Take, account: str
) -> None:
    server = yard.start("local")
    with clients.closing(clients.berths_own(server, 3)) as client:
        assert client.ping()
        foreign = take(server, account)
        before = contents(foreign)
        for _ in range(2):
            with pytest.raises(redis.ConnectionError):
                client.flushdb()
            with pytest.raises(redis.ConnectionError):
                client.pipeline().flushall().execute()
    assert contents(foreign) == before


@pytest.mark.parametrize("account", ACCOUNTS)
def test_a_kept_server_is_taken_over_by_its_token_only(
    yard: Yard, take: Take, account: str
) -> None:
    server = yard.start("local")
    condition = REDIS.backend.state_digest(server)
    foreign = take(server, account)
    before = contents(foreign)
    with pytest.raises(StartError, match=r"is not berth's|refuses berth's password"):
        REDIS.backend.probe(server)
    with pytest.raises(redis.ConnectionError):
        REDIS.backend.reset_server(server, "run", condition, "new")
    assert contents(foreign) == before


def test_a_record_without_a_token_proves_nothing(
    yard: Yard, connect: Callable[..., redis.Redis]
) -> None:
    server = yard.start("local")
    connect(server).set("key", 1)
    for token in ("", "berth-another"):
        account = dataclasses.replace(server.credentials, token=token)
        with pytest.raises(redis.ConnectionError, match="not the one that berth has started"):
            REDIS.backend.reset_server(
                dataclasses.replace(server, credentials=account), "run", [], "new"
            )
    assert connect(server).get("key") == b"1"


def test_nobody_can_change_the_token(yard: Yard, connect: Callable[..., redis.Redis]) -> None:
    server = yard.start("local")
    with pytest.raises(redis.ResponseError):
        connect(server).config_set("syslog-ident", "other")
    with clients.closing(clients.berths_own(server, 0)) as client:
        assert client.ping()


TAKEN = """
    import contextlib, subprocess
    import psutil, pytest, redis
    from pytest_berth import wait_for
    from pytest_berth.services.redis.urls import url

    def take(server):
        ours = psutil.Process(server.server.handle["pid"])
        line = [ours.exe(), "--port", str(server.port), "--bind", "127.0.0.1", "--save", ""]
        ours.kill()
        with contextlib.suppress(psutil.NoSuchProcess):
            ours.wait(30)
            foreign = subprocess.Popen(line, stdout=subprocess.DEVNULL, start_new_session=True)
        with open("foreign", "w") as file:
            print(foreign.pid, server.port, file=file)
        client = redis.Redis(port=server.port)
        def answers():
            with contextlib.suppress(redis.ConnectionError):
                return client.set("precious", 1)
        wait_for(answers, 30)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(nodeid):
        if "between" in nodeid:
            take(pytest.server)
"""


@pytest.mark.parametrize("moment", ["within", "between"])
def test_a_server_that_comes_in_the_middle_of_a_run_is_left_alone(
    local: Project, moment: str
) -> None:
    local.conftest(TAKEN)
    local.write(
        test_all=f"""
        import pytest
        from conftest import take

        def test_{moment}(redis_client, redis_server):
            redis_client.set("key", 1)
            pytest.server = redis_server
            if {moment!r} == "within":
                take(redis_server)

        def test_next(redis_client):
            redis_client.flushall()

        def test_next_but_one(redis_client):
            redis_client.flushall()

        def test_unit():
            pass
        """
    )
    result = local.run("-p", "no:randomly", "-v")
    pid, port = map(int, (local.root / "foreign").read_text().split())
    try:
        assert redis.Redis(port=port).keys() == [b"precious"]
        assert not redis.Redis(port=port).config_get("requirepass")["requirepass"]
    finally:
        os.kill(pid, 9)
    result.stdout.fnmatch_lines(
        [
            "*::test_next ERROR*",
            "*::test_next_but_one ERROR*",
            "*::test_unit PASSED*",
            # Or it "refuses berth's password": redis-py 5 tells so before the token is asked for.
            f"*the server at 127.0.0.1:{port} * berth's*",
            "*do:  * server*",
        ]
    )
    assert "INTERNALERROR" not in result.stdout.str()
