"""What becomes of each change that a test can make is as the documentation's table says."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest

from limit_tables import redis
from limit_tables.table import SERVERS
from marks import usual
from pytest_berth.services.redis import urls

if TYPE_CHECKING:
    from conftest import Project

    from .conftest import Yard

TESTS = """
import json
import shlex
from pathlib import Path

import pytest
import redis

HERE = Path(__file__).parent
SEEN = []
LEFT_OPEN = []
CASES = [
    pytest.param(number, row, phase, id=f"{number}-{phase}")
    for number, row in enumerate(json.loads((HERE / "rows.json").read_text()))
    for phase in ("before", "change", "after")
]

def send(client, command):
    try:
        return repr(client.execute_command(*shlex.split(command.replace("\\n", "\\\\n"))))
    except redis.ResponseError as error:
        assert "unknown command" in str(error).lower(), error
        return None

def change(client, command):
    if command.startswith("SUBSCRIBE"):
        LEFT_OPEN.append(redis.Redis.from_url(client.url).pubsub())
        LEFT_OPEN[-1].subscribe(command.split()[1])
        LEFT_OPEN[-1].get_message(timeout=60)
    else:
        send(client, command)

@pytest.mark.parametrize(("number", "row", "phase"), CASES)
def test_row(number, row, phase, redis_client, redis_url):
    with redis.Redis.from_url(redis_url) as client:
        client.url = redis_url
        if row["database"]:
            kwargs = client.connection_pool.connection_kwargs
            kwargs["db"] = kwargs.get("db", 0) + int(row["database"])
        found = send(client, row["probe"])
        if phase == "before":
            SEEN[:] = [found]
        elif phase == "change":
            for command in row["change"]:
                change(client, command)
            assert found is None or send(client, row["probe"]) != SEEN[0]
        elif found is not None:
            with (HERE / "found.jsonl").open("a") as file:
                file.write(json.dumps([number, found != SEEN[0]]) + "\\n")
            if found != SEEN[0]:
                for command in row["undo"]:
                    send(client, command)
"""
OTHER_WORKER = "def test_of_another_worker(redis_client): pass"


@pytest.mark.parametrize("server", usual(SERVERS, SERVERS[0]))
def test_what_becomes_of_each_change_is_as_documented(
    server: str, local: Project, yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    if server == "external":
        monkeypatch.delenv("BERTH_REDIS_SOURCE")
        monkeypatch.setenv("BERTH_REDIS_URL", urls.url(yard.foreign(), 0))
        local.ini("berth_redis_db = 3")
    else:
        local.ini()
    local.plugins = ("xdist", "xdist.looponfail")
    (local.root / "rows.json").write_text(json.dumps([asdict(row) for row in redis.TABLE.rows]))
    local.write(test_rows=TESTS, test_other=OTHER_WORKER)
    workers = ("-n2", "--dist=loadfile") if server == "several workers" else ()
    result = local.run("-p", "no:randomly", *workers)

    result.assert_outcomes(passed=3 * len(redis.TABLE.rows) + 1)
    place = SERVERS.index(server)
    lines = (local.root / "found.jsonl").read_text().splitlines()
    found = dict(json.loads(line) for line in lines)
    # A server that does not know a command has no outcome.
    different = {
        row.does
        for number, row in enumerate(redis.TABLE.rows)
        if number in found and found[number] != (row.outcomes[0][place] == "s")
    }
    assert different == set()
