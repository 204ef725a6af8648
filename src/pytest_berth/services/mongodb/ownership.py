"""Which databases on a server given by URL are a run's, and which a dead run has left.

A worker's database bears the run's id, and so does one beside it in which each of its processes
is noted. What a run has made is dropped with its end. What a killed one has left is dropped at the
end of a later run on the same machine: where all its processes have provably ended.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pymongo.errors import ConnectionFailure, OperationFailure

from pytest_berth.debug_log import debug, ignoring
from pytest_berth.run.process_identity import Process, this_process
from pytest_berth.services.mongodb import clients

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_berth.api import Server
    from pytest_berth.services.mongodb.clients import Client

_OWNER = re.compile(r"berth_(?P<run>[a-z0-9]+)_owner")


def note(client: Client, run_id: str) -> None:
    """Note this process as one of a run's, before it makes anything."""
    process = this_process()._asdict()
    client[f"berth_{run_id}_owner"]["processes"].replace_one(process, process, upsert=True)


def release(server: Server, run_id: str) -> None:
    """Drop the databases of a run, and those of runs that have provably ended.

    Where the server is out of reach, a later run does so.
    """
    unreachable = ignoring(ConnectionFailure, why="a later run drops the databases")
    with unreachable, clients.closing(clients.berths_own(server)) as client:
        names = client.list_database_names()
        _drop(client, run_id, names)
        for found in filter(None, map(_OWNER.fullmatch, names)):
            if found["run"] != run_id and _is_dead(client, found.string):
                debug("mongodb: the run %s is dead: its databases are dropped", found["run"])
                _drop(client, found["run"], names)


def _drop(client: Client, run_id: str, names: Iterable[str]) -> None:
    """Drop the databases of a run; last the one that tells of its processes."""
    ours = [name for name in names if name.startswith(f"berth_{run_id}_")]
    for name in sorted(ours, key=lambda name: name.endswith("_owner")):
        with ignoring(OperationFailure, why=f"{name} is not dropped"):
            client.drop_database(name)


def _is_dead(client: Client, database: str) -> bool:
    noted = list(client[database]["processes"].find({}, {"_id": 0}))
    return bool(noted) and all(Process(**each).is_gone() for each in noted)
