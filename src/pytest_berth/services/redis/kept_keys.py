"""Keeps what failed tests have written: keys are copied into a spare number of a server of ours.

Servers that may outlive their run have `SPARE` numbers beyond those that tests work in. A hash in
such a number says until when it is kept, and for which test: it is taken by that, and known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import redis

from pytest_berth.api import Kept
from pytest_berth.errors import NotKeptError
from pytest_berth.services.redis import clients, restore
from pytest_berth.services.redis.options import SPARE

if TYPE_CHECKING:
    from pytest_berth.api import Server
    from pytest_berth.services.redis.worker_databases import WorkerDatabases

MARKER = "pytest-berth:kept"
_UNTIL, _TEST, _EXPIRES = "until", "test", "expires "
_EXPIRING = f"keys that were to expire stay; when they would have, tells HGETALL {MARKER}"
# A server that does not answer, as a test has paused it, must not hold up the run.
_ANSWERS_WITHIN = 5.0


def keep(databases: WorkerDatabases, nodeid: str, until: float) -> list[Kept]:
    """Copy all keys of a worker's numbers, each number into a spare one.

    Args:
        databases: The worker's numbers, on a server of ours.
        nodeid: The test.
        until: Until when it stays, in seconds since 1970.

    Raises:
        NotKeptError: No spare number is left.
    """
    found = []
    for number in sorted(databases.look().filled):
        with clients.closing(_client(databases.server, number)) as source:
            found.append(_copy(databases.server, source, number, nodeid, until))
    return found


def is_kept(server: Server, number: int, now: float) -> bool:
    """Tell whether a number holds what a failed test has written, and its time is not over."""
    with clients.closing(_client(server, number)) as client:
        return number in _spare(client) and _until(client) > now


def discard(server: Server, number: int) -> None:
    """Empty a number, if it provably is kept."""
    with clients.closing(_client(server, number)) as client:
        if number in _spare(client) and _until(client):
            client.flushdb()


def _copy(server: Server, source: redis.Redis, number: int, nodeid: str, until: float) -> Kept:
    spare = _take(server, source, until)
    expiring = False
    with clients.closing(_client(server, spare)) as target:
        try:
            target.hset(MARKER, _TEST, nodeid)
            for keys in restore.batches(source):
                pipeline = target.pipeline(transaction=False)
                for (_, key), value in restore.read(source, number, keys):
                    pipeline.restore(key, 0, cast("str", value.dump))
                    if value.expires:
                        expiring = True
                        pipeline.hset(MARKER, _EXPIRES.encode() + key, str(value.expires))
                pipeline.execute()
        except BaseException:
            target.flushdb()
            raise
    return Kept(str(spare), _EXPIRING if expiring else "")


def _take(server: Server, source: redis.Redis, until: float) -> int:
    """Take a spare number that nobody has, and return it."""
    for number in _spare(source):
        with clients.closing(_client(server, number)) as client:
            if client.hsetnx(MARKER, _UNTIL, str(until)):
                return number
    raise NotKeptError(
        "no spare database number is left on the Redis server.",
        why=f"{SPARE} failures are kept there, or the settings leave none",
        remedy="pytest-berth prune",
    )


def _spare(client: redis.Redis) -> range:
    """Return the numbers that no test works in, of a server that may outlive its run."""
    count = int(cast("dict[str, str]", client.config_get("databases"))["databases"])
    return range(max(1, count - SPARE), count)


def _until(client: redis.Redis) -> float:
    """Return until when a number is kept; 0 where it is not."""
    try:
        found = client.hget(MARKER, _UNTIL)
        return float(found) if found else 0.0
    except (redis.ResponseError, ValueError):
        return 0.0  # something else has that name


def _client(server: Server, number: int) -> redis.Redis:
    return clients.berths_own(server, number, answers_within=_ANSWERS_WITHIN)
