"""What a test leaves open on a server: waiting commands, transactions, subscriptions, connections.

The server's list of clients tells what waits, watches or listens there, of whichever process. What
was taken from a pool and not given back is known to the pools of this process only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import redis
import redis.asyncio

from pytest_berth.compat import redis_private
from pytest_berth.run.startup_objects import all_objects
from pytest_berth.services.redis import clients
from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.services.redis.worker_databases import WorkerDatabases

_MOST, _CHANNELS = 1000, 20


def lines(databases: WorkerDatabases, began: float) -> list[str]:
    """Return a line for each connection to the worker's numbers that is left in use.

    Args:
        databases: The numbers.
        began: When the test began, by `waiting.now`: what has done nothing since is not its own.
    """
    there = databases.home.client_list()
    seconds = now() - began
    listed = [each for each in there if _is_meant(each, databases, seconds)]
    told = [(each, state) for each in listed[:_MOST] if (state := _state(each))]
    # A proxy before a container has ports of its own: there they match nothing.
    ports = {each["addr"].rpartition(":")[2]: each for each in listed}
    busy = {each["id"] for each, _ in told}
    for connection in _not_returned(databases):
        entry = ports.get(str(redis_private.local_port(connection)))
        if entry and entry["id"] not in busy:
            told.append((entry, f"not given back to its pool, last {_command(entry)}"))
    told.sort(key=lambda each: int(each[0]["id"]))
    found = [f"{_connection(each)}: {state}" for each, state in told]
    if databases.is_alone and any(each["sub"] != "0" for each in listed):
        names = cast("list[bytes]", databases.home.pubsub_channels())
        texts = sorted(name.decode(errors="replace") for name in names)
        found.append(f"channels: {', '.join(texts[:_CHANNELS])}")
    return found


def _is_meant(entry: dict[str, Any], databases: WorkerDatabases, seconds: float) -> bool:
    is_ours = entry["name"].startswith(clients.NAME)
    return (
        not is_ours and int(entry["db"]) in databases.numbers and int(entry["idle"]) <= seconds + 1
    )


def _state(entry: dict[str, Any]) -> str:
    """Return what a connection is in the midst of; empty if nothing."""
    states = []
    if "b" in entry["flags"]:
        states.append(f"waits in {_command(entry)} for {entry['idle']} s")
    if entry["multi"] != "-1":
        states.append(f"an open MULTI, {entry['multi']} commands queued")
    # Before Redis 7.4 the number of watched keys is not told.
    if entry.get("watch", "0") != "0":
        states.append(f"WATCH of {entry['watch']} keys")
    if "O" in entry["flags"]:
        states.append("MONITOR")
    subscriptions = [
        f"{entry[field]} {label}"
        for field, label in (("sub", "channels"), ("psub", "patterns"), ("ssub", "shard channels"))
        if entry.get(field, "0") != "0"
    ]
    if subscriptions:
        states.append(f"subscribed to {', '.join(subscriptions)}")
    return "; ".join(states)


def _connection(entry: dict[str, Any]) -> str:
    name = f" {entry['name']!r}" if entry["name"] else ""
    user = f", user {entry['user']}" if entry.get("user", "default") != "default" else ""
    return f"connection {entry['id']}{name} ({entry['age']} s old, {entry['addr']}{user})"


def _command(entry: dict[str, Any]) -> str:
    return str(entry["cmd"]).replace("|", " ").upper()


def _not_returned(databases: WorkerDatabases) -> Iterator[Any]:
    """Yield the connections to the server that pools of this process have handed out."""
    kinds = (redis.ConnectionPool, redis.asyncio.ConnectionPool)
    for found in all_objects():
        # By its type: an object may pretend to be of another class, or do something when asked.
        if issubclass(type(found), kinds):
            for connection in redis_private.in_use(found):
                if getattr(connection, "port", 0) == databases.server.port:
                    yield connection
