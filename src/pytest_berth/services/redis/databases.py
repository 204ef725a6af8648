"""Which database number a worker works in."""

from __future__ import annotations

import re
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pytest_berth.errors import MissingExtraError, SettingsError
from pytest_berth.lifecycle.run import MAIN

if TYPE_CHECKING:
    from pytest_berth.service import Server

_XDIST = re.compile(r"gw(\d+)")


def number(server: Server, run_id: str, worker: str) -> int:
    """Return the number of a worker's database.

    On a server of the run's own it is the worker's own number, known before the start. On an
    external one an empty number is claimed, the same one however often this is called.

    Raises:
        NoSourceError: No number is free, or the server cannot be reached.
        MissingExtraError: redis-py is not installed, which an external server needs already now.
    """
    if server.source != "external":
        return 0 if worker == MAIN else _number_of(worker)
    if find_spec("redis") is None:
        raise MissingExtraError("redis", "redis", needed_by="redis")
    from pytest_berth.services.redis import claims

    return claims.take(server, claims.owner(run_id, worker))


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
