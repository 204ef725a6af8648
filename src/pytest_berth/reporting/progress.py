"""Lines and progress bars on the terminal, even while pytest captures output."""

from __future__ import annotations

import sys
import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from pytest_berth.compat import pytest_private
from pytest_berth.debug_log import debug
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

_TELL_EVERY = 5.0


class TerminalProgress:
    """Prints lines and progress bars for a waiting user.

    On a terminal downloads are shown as bars, elsewhere as a plain line every five seconds. What
    an xdist worker tells is printed by the controller. pytest's capture belongs to the thread that
    runs the tests: what others tell is kept until that one calls `catch_up`.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._told: dict[str, float] = {}
        self._kept: deque[Callable[[], None]] = deque()
        # xdist's controller runs no tests, and prints from the thread that follows its workers.
        runs_tests = not config.pluginmanager.has_plugin("dsession")
        self._thread = threading.current_thread() if runs_tests else None

    def note(self, text: str) -> None:
        """Print a line."""
        run = self.config.stash[PLUGIN_STATE].run
        if not run.is_owner:
            from pytest_berth.reporting import worker_output

            worker_output.send(run, text)
        elif self._may_print():
            self.catch_up()
            self._print(text)
        else:
            self._kept.append(lambda: self._print(text))

    def catch_up(self) -> None:
        """Print the lines of other threads that have come meanwhile."""
        while self._kept:
            self._kept.popleft()()

    def _may_print(self) -> bool:
        return self._thread in {None, threading.current_thread()}

    def _print(self, text: str) -> None:
        reporter: Any = self.config.pluginmanager.get_plugin("terminalreporter")
        if reporter:
            with self._uncaptured():
                if pytest_private.is_within_line(reporter):
                    reporter.line("")
                reporter.write_line(f"berth: {text}")

    def update(self, label: str, done: int, total: int | None) -> None:
        """Show that *done* of *total* bytes are there; equal numbers end the bar."""
        owner = self.config.stash[PLUGIN_STATE].run.is_owner
        if not self._may_print():
            self._kept.append(lambda: self.update(label, done, total))
        elif owner and sys.__stderr__ is not None and sys.__stderr__.isatty():
            self._draw(label, done, total)
        else:
            self._tell(label, done, total)

    def _draw(self, label: str, done: int, total: int | None) -> None:
        with self._uncaptured() as stream:
            bars = self._bars or self._start(stream)
            if label not in self._tasks:
                self._tasks[label] = bars.add_task(label, total=total)
            bars.update(self._tasks[label], completed=done, total=total, refresh=True)
            if done == total:
                bars.stop()
                self._bars = None
                self._tasks.clear()

    def _start(self, stream: TextIO) -> Bars:
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

        console = Console(file=stream)
        columns = TextColumn("berth: {task.description}"), BarColumn(), DownloadColumn()
        self._bars = Progress(*columns, console=console, auto_refresh=False)
        self._bars.start()
        return self._bars

    def _tell(self, label: str, done: int, total: int | None) -> None:
        at = now()
        if label not in self._told or at - self._told[label] > _TELL_EVERY or done == total:
            self._told[label] = at
            of = f" of {total / 1e6:.0f}" if total else ""
            self.note(f"{label}: {done / 1e6:.0f}{of} MB")

    @contextmanager
    def _uncaptured(self) -> Iterator[TextIO]:
        """Suspend pytest's capture of output and yield the real standard error."""
        capture = self.config.pluginmanager.get_plugin("capturemanager")
        stream = sys.__stderr__ or sys.stderr
        if capture is None:
            yield stream
            return
        with capture.global_and_fixture_disabled():
            yield stream


@contextmanager
def hide_output(config: pytest.Config) -> Iterator[None]:
    """Hide what is printed while servers end, as during tests.

    Clients of the application that are still open, in threads, tell of refused connections again
    and again. With ``-s`` they are shown.
    """
    capture: Any = config.pluginmanager.get_plugin("capturemanager")
    if not pytest_private.is_capturing(capture):
        yield
        return
    capture.resume_global_capture()
    try:
        yield
    finally:
        capture.suspend_global_capture()
        out, err = capture.read_global_capture()
        debug("printed while servers ended: %s%s", out, err)
