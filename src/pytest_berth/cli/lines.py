"""Tells a person at the terminal what is going on, on standard error."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Lines:
    """Tells what is going on as lines on standard error."""

    def note(self, text: str) -> None:
        """Print a line."""
        print(f"berth: {text}", file=sys.stderr, flush=True)

    def update(self, label: str, done: int, total: int | None) -> None:
        """Print nothing: nobody waits."""

    def phase(self, what: str, text: str) -> None:
        """Print nothing: nobody waits."""


class Bars(Lines):
    """Shows each download as a bar on a terminal, and as a line elsewhere."""

    def __init__(self) -> None:
        self._bars: Progress | None = None
        self._tasks: dict[str, TaskID] = {}

    def close(self) -> None:
        """Let the bars be gone."""
        if self._bars:
            self._bars.stop()

    def update(self, label: str, done: int, total: int | None) -> None:
        """Show how much is there."""
        if label not in self._tasks:
            self._tasks[label] = self._all().add_task(label, total=total)
            size = f", {total / 1e6:.0f} MB" if total else ""
            if not sys.stderr.isatty():
                self.note(f"{label}{size}")
        self._all().update(self._tasks[label], completed=done, total=total)

    def _all(self) -> Progress:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import Progress

            hidden = not sys.stderr.isatty()
            self._bars = Progress(console=Console(stderr=True), transient=True, disable=hidden)
            self._bars.start()
        return self._bars
