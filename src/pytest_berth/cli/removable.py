"""What `pytest-berth prune` may remove: each thing with its size, its age, and who may use it."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_berth.cli.lines import Lines
from pytest_berth.debug_log import ignoring
from pytest_berth.waiting import wall_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True)
class Removable:
    """One thing that is provably berth's, and may go.

    Attributes:
        what: Its name, in messages.
        line: How it is listed.
        remove: Removes it.
        used: When it was used last, or was made where nothing tells that; seconds since 1970.
        size: Bytes that are free afterwards; None where that is not known.
        in_use: Why it may be in use; empty where nothing says so.
        names: What a person may call it on the command line.
    """

    what: str
    line: str
    remove: Callable[[], object]
    used: float
    size: int | None = None
    in_use: str = ""
    names: tuple[str, ...] = ()


@dataclass
class Removal:
    """Lists what may go, asks where something may be in use, removes it, and counts.

    Attributes:
        unused_for: Seconds for which nothing may have used it.
        yes: Whether the answer to each question is yes.
        dry: Whether only to list.
        refused: What stays, as nobody has answered: its names.
    """

    unused_for: float = 0.0
    yes: bool = False
    dry: bool = False
    refused: list[str] = field(default_factory=list)
    _count: int = 0
    _size: int = 0

    def is_due(self, each: Removable) -> bool:
        """Tell whether it is old enough."""
        return not self.unused_for or each.used <= wall_clock() - self.unused_for

    def take(self, found: Iterable[Removable]) -> list[Removable]:
        """Remove what is old enough, and return it; what cannot be removed is told."""
        return [each for each in found if self.is_due(each) and self._take(each)]

    def tell(self) -> None:
        """Tell how much it was."""
        done = "would be removed" if self.dry else "removed"
        size = f", {size_text(self._size)}" if self._size else ""
        Lines().note(f"{self._count or 'nothing'} {done}{size}")

    def _take(self, each: Removable) -> bool:
        details = [f"{age(each.used)} old"] if each.used else []
        if each.size is not None:
            details.insert(0, size_text(each.size))
        print(f"{each.line}{'  ' if details else ''}{', '.join(details)}", flush=True)
        if not self.dry:
            if each.in_use and not self.yes and not self._agrees(each):
                return False
            try:
                each.remove()
            except Exception as error:  # told, and the others still go
                said = next(iter(str(error).splitlines()), type(error).__name__)
                Lines().note(f"{each.what} could not be removed: {said}")
                return False
        self._count += 1
        self._size += each.size or 0
        return True

    def _agrees(self, each: Removable) -> bool:
        if sys.stdin is None or not sys.stdin.isatty():
            Lines().note(f"{each.what} stays: {each.in_use}; --yes removes it all the same")
            self.refused += each.names
            return False
        try:
            answer = input(f"  {each.in_use}. Remove it? [y/N] ")
        except EOFError:
            return False
        return answer.strip().lower() in {"y", "yes"}


def size_of(path: Path) -> int:
    """Return the bytes of a file, or of all files below a directory."""
    total = 0
    for place, _, names in os.walk(path):
        for name in names:
            with ignoring(OSError, why="it is gone"):
                total += os.lstat(os.path.join(place, name)).st_size  # noqa: PTH118
    return total


def size_text(size: int) -> str:
    """Return a size for people."""
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= limit:
            return f"{size / limit:.1f} {unit}"
    return f"{size} bytes"


def age(since: float) -> str:
    """Return for people how long ago that was."""
    seconds = max(0.0, wall_clock() - since)
    for limit, unit in _UNITS:
        if seconds >= limit:
            count = int(seconds // limit)
            return f"{count} {unit}{'s' * (count != 1)}"
    return "0 seconds"
