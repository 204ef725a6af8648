"""Networks of the engine, on which a container finds by name the servers that it depends on.

Each such container has one of its own, so that those of several workers have the same names beside
each other.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_berth.debug_log import debug, ignoring
from pytest_berth.sources import engine_errors
from pytest_berth.sources.labels import BESIDE, RUN
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.api import Server
    from pytest_berth.sources.container_engine import Engine


# The engine publishes ports on the first of a container's networks by name, and gives them other
# numbers where another network becomes the first: this one comes behind the engine's own "bridge".
_LAST = "x-"
_REMOVED_WITHIN = 60.0


class Network(NamedTuple):
    """A network as what is left of a run, removed as a container is."""

    engine: Engine
    network: str

    def remove(self, *, force: bool, v: bool) -> None:
        """Remove it."""
        remove(self.engine, self.network)


def join(engine: Engine, container: str, plan: Server, name: str, labels: Mapping[str, str]) -> str:
    """Connect a container, before its start, with the servers that it depends on.

    One that takes a lost one's place also joins the networks of those that depend on it.

    Args:
        engine: The engine.
        container: The container.
        plan: Its server, whose ``handle`` names the others.
        name: Name of the container.
        labels: What it is to carry, as the container does.

    Returns:
        The id of the container's network; empty where it depends on none.
    """
    if plan.restarts:
        _rejoin(engine, container, plan.key, labels[RUN])
    beside = plan.handle.get("beside")
    if not beside:
        return ""
    keys = json.dumps({alias: key for alias, (key, _) in beside.items()})
    made = engine.networks.create(_named(name), labels={**labels, BESIDE: keys})
    aliases: dict[str, list[str]] = {}
    for alias, (_, other) in beside.items():
        aliases.setdefault(other, []).append(alias)
    for other, names in aliases.items():
        made.connect(other, aliases=names)
    made.connect(container, aliases=[plan.service])
    debug("%s: finds %s on the network %s", plan.key, ", ".join(beside), name)
    return str(made.id)


def _rejoin(engine: Engine, container: str, key: str, run_id: str) -> None:
    for network in of_run(engine, run_id):
        beside = json.loads(network.attrs["Labels"].get(BESIDE) or "{}")
        aliases = [alias for alias, known in beside.items() if known == key]
        if aliases:
            network.connect(container, aliases=aliases)


def of_run(engine: Engine, run_id: str) -> list[Any]:
    """Return the networks of a run."""
    return list(engine.networks.list(filters={"label": f"{RUN}={run_id}"}))


def of_runs(engine: Engine) -> list[Any]:
    """Return the networks of all runs."""
    return list(engine.networks.list(filters={"label": RUN}))


def remove_of(engine: Engine, container: str) -> None:
    """Remove the network of a container, by the container's name; fine where it has none."""
    remove(engine, _named(container))


def remove(engine: Engine, network: str) -> None:
    """Remove a network, by id or name; what is connected to it goes on without. Fine if gone.

    Containers on it may be being removed at the same time, by others.
    """

    def is_gone() -> bool:
        try:
            found = engine.networks.get(network)
            for container in found.attrs.get("Containers") or ():
                with ignoring(
                    *engine_errors.api(), why=f"{container} has left the network, or is gone"
                ):
                    found.disconnect(container, force=True)
            found.remove()
        except engine_errors.not_found():
            return True
        except engine_errors.api() as error:
            if error.status_code not in {HTTPStatus.FORBIDDEN, HTTPStatus.CONFLICT}:
                raise
            debug("the network %s is in use: %s", network, error)
            return False
        return True

    wait_for(is_gone, _REMOVED_WITHIN, message="the removal of a network")


def _named(container: str) -> str:
    return f"{_LAST}{container}"
