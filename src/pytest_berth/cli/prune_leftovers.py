"""What ``pytest-berth prune`` removes of runs: what dead ones have left, and kept servers."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.cli import leftovers
from pytest_berth.cli.removable import Removable, size_of
from pytest_berth.debug_log import ignoring
from pytest_berth.run import orphans
from pytest_berth.run.registry import Registry
from pytest_berth.run.reuse import kept_states, reuse_reaper
from pytest_berth.run.reuse.records import Record, place
from pytest_berth.sources.container import removal

if TYPE_CHECKING:
    from pytest_berth.run.orphans import Orphan

_ASK = "its run may live in another container or on another machine"


def of_run(leftover: Orphan) -> Removable:
    """Return a directory, a container or a network of a run that is not alive."""
    path = leftover.handle if isinstance(leftover.handle, Path) else None
    return Removable(
        leftover.what,
        leftovers.line(leftover),
        lambda: _remove(leftover),
        _last_seen(path) if path else _made(leftover.handle),
        size_of(path) if path else None,
        _ASK if leftover.state == orphans.UNKNOWN else "",
        (leftover.run_id,),
    )


def of_record(record: Record, line: str) -> Removable:
    """Return a kept server, which no run uses.

    Args:
        record: Its record.
        line: How it is listed.
    """
    of_record = (each for each in kept_states.all_of_user())
    newest = (each.since for each in of_record if each.server.reuse_record == record.name)
    used = max(record.ends - record.lasts, *newest, 0.0)
    directory = record.server.handle.get("directory")
    size = size_of(Path(directory)) if directory else None
    return Removable(record.name, line, lambda: _end(record), used, size, names=(record.name,))


def _remove(leftover: Orphan) -> None:
    if isinstance(leftover.handle, Path):
        leftovers.manager(leftover.handle).sweep(patient=False)
    else:
        with removal():
            leftover.handle.remove(force=True, v=True)


def _end(record: Record) -> None:
    if not reuse_reaper.end_apart(place(), record, early=True):
        raise RuntimeError("a run uses it, or its engine does not answer")


def _last_seen(directory: Path) -> float:
    """Return when a run has shown last that it lives."""
    registry, seen = Registry(directory), 0.0
    for path in (registry.owner, registry.heartbeat):
        with ignoring(OSError, why="it is gone, or was not needed"):
            seen = max(seen, path.stat().st_mtime)
    return seen


def _made(handle: object) -> float:
    """Return when a container or a network was made; 0 where the engine does not tell."""
    attributes = getattr(handle, "attrs", {})
    told = attributes.get("Created", 0)
    if isinstance(told, (int, float)):
        return float(told)
    with ignoring(ValueError, why="it is told in another form"):
        return datetime.fromisoformat(str(told)[:19] + "+00:00").timestamp()
    return 0.0
