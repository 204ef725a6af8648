"""Which database numbers a worker works in."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pytest_berth.errors import MissingExtraError, SettingsError
from pytest_berth.run.run import MAIN
from pytest_berth.services.redis.options import DATABASES, NUMBER, SETTINGS

if TYPE_CHECKING:
    from pytest_berth.api import Server
    from pytest_berth.config.options import Settings

_XDIST = re.compile(r"gw(\d+)")
_MOST_FURTHER = 16
# xdist replaces a worker that has crashed by one with a new name, four times the workers at most.
_NAMES_PER_WORKER = 5


def number(server: Server, settings: Settings, run_id: str, worker: str) -> int:
    """Return the number of a worker's database.

    On a server of the run's own it is the worker's own number, known before the start. On an
    external one an empty number is claimed, the same one however often this is called.

    Raises:
        NoSourceError: No number is free, or the server cannot be reached.
        MissingExtraError: redis-py is not installed, which an external server needs already now.
    """
    fixed = settings[NUMBER]
    if server.source != "external":
        if fixed or server.slot or worker == MAIN:
            return int(fixed or 0)
        return spread(_number_of(worker), count(settings))
    if find_spec("redis") is None:
        raise MissingExtraError("redis", "redis", needed_by="redis")
    from pytest_berth.services.redis import claims

    wanted = int(fixed) if fixed else claims.ANY
    return claims.take(server, claims.owner(run_id, worker), wanted)


def count(settings: Settings) -> int:
    """Return how many database numbers a server of ours has."""
    found = DATABASES
    for pair in settings[SETTINGS]:
        name, _, value = pair.partition("=")
        if name.strip().lower() == "databases" and value.strip().isdigit():
            found = int(value)
    return found


def spread(index: int, databases: int) -> int:
    """Return the number of a worker, so that workers are far apart, however many there are.

    An application may use the numbers that follow its own. The bits of the worker's index are
    read in reverse: with 256 numbers, workers have 0, 128, 64, 192, 32, and so on.
    """
    bits = databases.bit_length() - 1
    if index >= 1 << bits:
        return index
    return int(f"{index:0{bits}b}"[::-1], 2) if bits else 0


def further(databases: int, workers: int) -> int:
    """Return how many numbers from its own on a worker has for itself, on a server that is shared.

    None of these is the number of another worker, nor of one that xdist starts in its place.
    """
    names = 1 << (_NAMES_PER_WORKER * workers - 1).bit_length()
    return max(1, min(_MOST_FURTHER, (1 << databases.bit_length() - 1) // names))


def unclaimed(settings: Settings, workers: int) -> set[int]:
    """Return the numbers that tests can use, and that no worker has for itself."""
    if workers == 1:
        return set()
    databases = count(settings)
    firsts = (spread(index, databases) for index in range(_NAMES_PER_WORKER * workers))
    claimed = {first + at for first in firsts for at in range(further(databases, workers))}
    return set(range(databases)) - claimed


def _number_of(worker: str) -> int:
    match = _XDIST.fullmatch(worker)
    if match is None:
        raise SettingsError(
            f"the name of the xdist worker {worker!r} gives it no number of a Redis database.",
            why="berth counts workers by xdist's own names: gw0, gw1",
            remedy="leave `//id=` out of --tx, or give each worker a server:"
            " berth_redis_scope = worker",
        )
    return int(match[1])
