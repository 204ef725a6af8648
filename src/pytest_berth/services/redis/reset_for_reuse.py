"""What tests can leave on a server of ours, and taking it back, for the next run that uses it."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import redis

from pytest_berth.debug_log import ignoring
from pytest_berth.services.redis import clients, kept_keys, server_state
from pytest_berth.waiting import wall_clock

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_berth.api import Server

_SETTING, _USER = "setting ", "user "
_PASSWORDS = {"requirepass", "masterauth"}
_HASH = re.compile(r"#[0-9a-f]{64}")
_KINDS = ("normal", "pubsub", "replica")


def condition(server: Server) -> list[str]:
    """Describe all that tests can change on a server."""
    with _connected(server) as client:
        return _condition(server, client)


def renew(server: Server, there: Sequence[str], password: str) -> list[str]:
    """Leave nothing on a server of ours, and set its settings as they were.

    Args:
        server: A server that nobody else uses.
        there: What `condition` has told of it.
        password: The default user's from now on.

    Returns:
        What there is now.
    """
    with _connected(server) as client:
        # First, so that what is ended cannot come back.
        client.config_set("requirepass", password)
        server = replace(server, credentials=replace(server.credentials, password=password))
        for kind in _KINDS:
            _run(client, "CLIENT KILL TYPE", kind, "SKIPME", "yes")
        _flush(server, client)
        client.script_flush()
        with ignoring(redis.ResponseError, why="before Redis 7 there are no functions"):
            _run(client, "FUNCTION FLUSH")
        users = [name for name in _texts(client, "ACL USERS") if name != "default"]
        if users:
            _run(client, "ACL DELUSER", *users)
        _set_back(client, there)
        return _condition(server, client)


def _flush(server: Server, client: redis.Redis) -> None:
    """Empty all numbers but those that hold what failed tests have written."""
    if not _kept(server, client):
        client.flushall()
        return
    for number in _filled(server, client):
        with clients.closing(clients.berths_own(server, number)) as inside:
            inside.flushdb()


def _kept(server: Server, client: redis.Redis) -> set[int]:
    return {n for n in _numbers(client) if kept_keys.is_kept(server, n, wall_clock())}


def _filled(server: Server, client: redis.Redis) -> list[int]:
    """Return the numbers that hold keys which are not kept."""
    return sorted(_numbers(client) - _kept(server, client))


def _numbers(client: redis.Redis) -> set[int]:
    return {int(name.removeprefix("db")) for name in client.info("keyspace")}


def _condition(server: Server, client: redis.Redis) -> list[str]:
    config = cast("dict[str, str]", client.config_get())
    set_to = {name: value for name, value in config.items() if name not in _PASSWORDS}
    found = [f"{_SETTING}{name}={value}" for name, value in set_to.items()]
    users = map(server_state.rules, _texts(client, "ACL LIST"))
    found += [f"{_USER}{_HASH.sub('#', each)}" for each in users]
    found += [f"keys in db{number}" for number in _filled(server, client)]
    with ignoring(redis.ResponseError, why="before Redis 7 there are no functions"):
        found += [f"function {each}" for each in _texts(client, "FUNCTION LIST")]
    return sorted(found)


def _set_back(client: redis.Redis, there: Sequence[str]) -> None:
    before = dict(
        each.removeprefix(_SETTING).split("=", 1) for each in there if each.startswith(_SETTING)
    )
    now = cast("dict[str, str]", client.config_get())
    for name, value in before.items():
        if now.get(name) != value:
            # What cannot be set is told of: the server is not in its first condition.
            with ignoring(redis.ResponseError, why=f"{name} cannot be set"):
                client.config_set(name, value)


def _texts(client: redis.Redis, command: str) -> list[str]:
    found = _run(client, command)
    return [each.decode() if isinstance(each, bytes) else str(each) for each in found]


def _run(client: redis.Redis, *command: str) -> Any:
    return client.execute_command(*command)  # type: ignore[no-untyped-call]


@contextmanager
def _connected(server: Server) -> Iterator[redis.Redis]:
    with clients.closing(clients.berths_own(server, 0)) as client:
        yield client
