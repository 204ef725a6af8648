"""Orphans: containers and directories of dead runs. It is proved first that the run is dead.

A run's reaper removes its containers. Where run and reaper ended together, as in a CI job whose
own container was thrown away, the next run on the same engine finds theirs by their labels. It
removes only what is provably dead: its owner's pid is gone from our own pid namespace, or the very
container that the owner ran in has ended, which the engine knows. All else is left to
``pytest-berth prune``, where a human says what is dead.
"""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_berth.config.options import may_outlive_run
from pytest_berth.run import heartbeat, process_identity, registry
from pytest_berth.run.reuse import records
from pytest_berth.sources import labels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_berth.api import Progress, Source
    from pytest_berth.config.options import Settings
    from pytest_berth.run.run import Run
    from pytest_berth.sources.container_engine import Engine

ALIVE, KEPT, DEAD, UNKNOWN = "alive", "kept", "dead", "unknown"


@dataclass(frozen=True)
class Orphan:
    """A container or a directory of a run, and the state of that run.

    Attributes:
        run_id: The run.
        what: The container, or the directory.
        about: Where the run was at home.
        state: ``alive``, ``kept`` (for later runs), ``dead`` (which is proven), or ``unknown``.
        is_ours: Whether it is of the same user.
        handle: The engine's container, the path, or the record of a kept server.
    """

    run_id: str
    what: str
    about: str
    state: str
    is_ours: bool
    handle: Any


def labels_of(run: Run, settings: Settings) -> dict[str, str]:
    """Return the labels by which other runs can tell whether a container is in use."""
    owner = process_identity.read(run.registry.owner)
    return {
        labels.OWNER: json.dumps(owner),
        labels.USER: labels.user(),
        labels.HOST: platform.node(),
        labels.PROJECT: str(settings.root),
        # Also where it is empty: an image made of a container hands labels down.
        labels.REUSE: str(records.place()) if may_outlive_run(settings) else "",
    }


def sweep(source: Source, run: Run, progress: Progress) -> None:
    """Remove the containers of this user's provably dead runs from a source's engine."""
    from pytest_berth.sources import engine_errors
    from pytest_berth.sources.container import ContainerSource, removal

    assert isinstance(source, ContainerSource), "its name says so"
    try:
        for found in containers(source.engine):
            if found.is_ours and found.state == DEAD and found.run_id != run.id:
                with removal():
                    found.handle.remove(force=True, v=True)
    except engine_errors.any_of_engine() as error:
        progress.note(f"what dead runs have left on the engine could not be removed: {error}")


def containers(engine: Engine) -> Iterator[Orphan]:
    """Yield the containers of all runs on an engine, and then their networks."""
    from pytest_berth.sources import networks

    # Without the details of each, which would cost a request, and fail where one is gone meanwhile.
    listed = engine.containers.list(all=True, filters={"label": labels.RUN}, sparse=True)
    of_runs = [_state_of_run(engine, each.attrs["Labels"]) for each in listed]
    # Once for all, and only now: a run that is dead by now has its record there, if it left one.
    kept_in = cache(_kept_in)
    for container, of_run in zip(listed, of_runs, strict=True):
        found = container.attrs["Labels"]
        yield Orphan(
            found[labels.RUN],
            container.attrs["Names"][0].lstrip("/"),
            f"{found.get(labels.PROJECT, '?')} on {found.get(labels.HOST, '?')}",
            _state(of_run, container.id, found.get(labels.REUSE, ""), kept_in),
            found.get(labels.USER) == labels.user(),
            container,
        )

    for network in networks.of_runs(engine):
        found = network.attrs["Labels"]
        yield Orphan(
            found[labels.RUN],
            network.name,
            f"{found.get(labels.PROJECT, '?')} on {found.get(labels.HOST, '?')}",
            _state_of_run(engine, found),
            found.get(labels.USER) == labels.user(),
            networks.Network(engine, network.id),
        )


def kept() -> Iterator[Orphan]:
    """Yield the servers that this user keeps for later runs."""
    for record in records.all_of_user():
        about = f"{record.project}, {record.rest}"
        yield Orphan(record.name, str(record), about, KEPT, True, record)


def directories(place: Path) -> Iterator[Orphan]:
    """Yield the directories of this user's runs in a temporary directory."""
    for directory in registry.directories(place):
        if registry.is_directory(directory):
            run_id, owner = registry.run_id(directory), registry.Registry(directory).owner
            yield Orphan(run_id, str(directory), "", _state_of(owner), True, directory)


def _state(
    of_run: str, container_id: str, place: str, kept_in: Callable[[str], set[str] | None]
) -> str:
    """Return the state of a container: that of its run, unless it stays for later runs."""
    if of_run == ALIVE or not place:
        return of_run
    known = kept_in(place)
    if known is None:
        return UNKNOWN
    return KEPT if container_id in known else of_run


def _kept_in(place: str) -> set[str] | None:
    """Return the ids of the containers that stay for later runs; None where that is unknown.

    Of another user, or of another container's file system, the records cannot be read.
    """
    if not records.is_private(Path(place)):
        return None
    handles = (record.server.handle for record in records.Records(Path(place)).all())
    return {handle["container"] for handle in handles if "container" in handle}


def _state_of_run(engine: Engine, found: Mapping[str, str]) -> str:
    try:
        owner = process_identity.Process(*json.loads(found[labels.OWNER]))
    except (KeyError, TypeError, ValueError):
        return UNKNOWN  # of an earlier version
    if owner.is_here and engine.is_on_this_machine:
        return DEAD if owner.is_gone() else ALIVE
    return DEAD if found.get(labels.INSIDE) and engine.has_ended(found[labels.INSIDE]) else UNKNOWN


def _state_of(path: Path) -> str:
    if heartbeat.has_ended(path):
        return DEAD
    owner = process_identity.read(path)
    return ALIVE if owner and (owner.is_here or process_identity.is_held(path)) else UNKNOWN
