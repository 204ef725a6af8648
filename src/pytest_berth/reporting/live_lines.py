"""The lines of a terminal that say what is being done, drawn anew in place, and gone afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable

_BAR = 30


class LiveLines:
    """What is shown on a terminal.

    Args:
        stream: The terminal.
    """

    def __init__(self, stream: TextIO) -> None:
        self._live = Live(
            console=Console(file=stream),
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._live.start()

    def draw(
        self,
        phases: Iterable[tuple[str, str]],
        downloads: Iterable[tuple[str, int, int | None]],
    ) -> None:
        """Show a line for each server, and one for each download.

        Args:
            phases: What is being done, and for how long.
            downloads: What is downloaded, how many bytes are there, and are to be.
        """
        lines = Table.grid(padding=(0, 2))
        for text, took in phases:
            lines.add_row(Text(text), took)
        for text, done, total in downloads:
            of = f" of {total / 1e6:.0f}" if total else ""
            bar = ProgressBar(total=total or None, completed=done, width=_BAR)
            lines.add_row(Text(text), f"{done / 1e6:.0f}{of} MB", bar)
        self._live.update(lines, refresh=True)

    def stop(self) -> None:
        """Take the lines away."""
        self._live.stop()
