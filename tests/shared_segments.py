"""The System V segments that servers of PostgreSQL have, as Linux lists them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.sources import shared_memory

if TYPE_CHECKING:
    from collections.abc import Iterable

_LISTED = Path("/proc/sysvipc/shm")


def noted(place: Path) -> set[str]:
    """Return the ids of the segments that the servers below a directory say they have."""
    found = set()
    for path in place.rglob("postmaster.pid"):
        lines = path.read_text().splitlines()
        if len(lines) > 6 and lines[6].split():
            found.add(lines[6].split()[1])
    return found


def left(ids: Iterable[str]) -> set[str]:
    """Return those that are there."""
    if not _LISTED.exists():
        return set()
    return {line.split()[1] for line in _LISTED.read_text().splitlines()} & set(ids)


def release(place: Path) -> None:
    """Remove those of killed servers below a directory of a test."""
    for path in place.rglob("postmaster.pid"):
        shared_memory.release(path.parent.parent)
