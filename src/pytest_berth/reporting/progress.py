"""Lines on the terminal, and what is being done there, even while pytest captures output."""

from __future__ import annotations

import sys
import threading
from collections import deque
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from pytest_berth.compat import pytest_private
from pytest_berth.debug_log import debug
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from pytest_berth.reporting.live_lines import LiveLines

_TELL_EVERY = 5.0
_TELL_AFTER = 3.0
_SHOW_AFTER = 0.5


class Phase(NamedTuple):
    """What is being done for a server.

    Attributes:
        text: What it is.
        began: When the first phase of this work began.
        told: When a line has told of it; the same if none has.
    """

    text: str
    began: float
    told: float

    @property
    def took(self) -> str:
        """How long it has been going on."""
        return f"{now() - self.began:.0f} s"


class Download(NamedTuple):
    """How many bytes are there, and how many there are to be, where that is known."""

    done: int
    total: int | None


class TerminalProgress:
    """Prints lines for a waiting user, and shows what is being done.

    On a terminal a line for each server, and for each download, says what is going on, and is gone
    afterwards. Elsewhere, in CI for instance, what takes long is a plain line every five seconds.
    What an xdist worker tells is printed by the controller. pytest's capture belongs to the thread
    that runs the tests: what others tell is kept until that one calls `catch_up`, and what they do
    is shown while it waits.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self._live: LiveLines | None = None
        self._is_terminal: bool | None = None
        self._downloads: dict[str, Download] = {}
        self._phases: dict[str, Phase] = {}
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

    def phase(self, what: str, text: str) -> None:
        """Show what is being done for a server; an empty text ends that."""
        is_owner = self.config.stash[PLUGIN_STATE].run.is_owner
        if is_owner and not self._may_print():
            self._change_phase(what, text)
        elif is_owner and self._has_terminal():
            self._change_phase(what, text)
            # This thread does it itself, and may not come back for long.
            self._draw(True, after=0.0)
        else:
            self._tell_phases()  # also of what has just ended, and has taken long
            self._change_phase(what, text)

    def show(self, is_waiting: bool) -> None:
        """Show what others do, as somebody waits for it; or nothing, as nobody does."""
        if self._has_terminal():
            self._draw(is_waiting)
        elif is_waiting:
            self._tell_phases()

    def _change_phase(self, what: str, text: str) -> None:
        known = self._phases.get(what)
        if not text:
            self._phases.pop(what, None)
        elif known is None:
            self._phases[what] = Phase(text, now(), now())
        else:
            self._phases[what] = known._replace(text=text)

    def update(self, label: str, done: int, total: int | None) -> None:
        """Show that *done* of *total* bytes are there; equal numbers end the bar."""
        if not self._may_print():
            self._kept.append(lambda: self.update(label, done, total))
        elif self._has_terminal() and done != total:
            self._downloads[label] = Download(done, total)
            self._draw(True)
        else:
            if self._downloads.pop(label, None):
                self._draw(bool(self._downloads or self._phases))
            self._tell(label, done, total)

    def _may_print(self) -> bool:
        return self._thread in {None, threading.current_thread()}

    def _has_terminal(self) -> bool:
        """Tell whether this process has a terminal; called by a thread that may print."""
        if not self.config.stash[PLUGIN_STATE].run.is_owner:
            return False
        if self._is_terminal is None:
            # While pytest captures it, it is a file.
            with self._uncaptured() as stream:
                self._is_terminal = stream.isatty()
        return self._is_terminal

    def _print(self, text: str) -> None:
        self._draw(False)
        if self._reporter:
            with self._uncaptured():
                self._begin_line()
                self._reporter.write_line(f"berth: {text}")
                # Somebody waits for it, be it at the other end of a pipe.
                self._reporter.flush()

    @property
    def _reporter(self) -> Any:
        return self.config.pluginmanager.get_plugin("terminalreporter")

    def _begin_line(self) -> None:
        if self._reporter and pytest_private.is_within_line(self._reporter):
            self._reporter.line("")

    def _draw(self, is_waiting: bool, *, after: float = _SHOW_AFTER) -> None:
        """Draw the lines of a terminal anew, or take them away.

        Args:
            is_waiting: Whether there is anything to wait for.
            after: Seconds that something has to take before it is shown.
        """
        phases = list(self._phases.items())  # other threads change them
        shown = [each for each in phases if now() - each[1].began >= after]
        if is_waiting and (shown or self._downloads):
            with self._uncaptured() as stream:
                if self._live is None:
                    from pytest_berth.reporting.live_lines import LiveLines

                    self._begin_line()  # what stands in the one it is at would be erased, too
                    self._live = LiveLines(stream)
                self._live.draw(
                    [(f"berth: {what}: {phase.text}", phase.took) for what, phase in shown],
                    [(f"berth: {label}", *each) for label, each in self._downloads.items()],
                )
        elif self._live:
            with self._uncaptured():
                self._live.stop()
            self._live = None

    def _tell_phases(self) -> None:
        """Print what takes long, in one line for all, from time to time."""
        at = now()
        for what, phase in list(self._phases.items()):
            patience = _TELL_AFTER if phase.told == phase.began else _TELL_EVERY
            if at - phase.told > patience:
                self._phases[what] = phase._replace(told=at)
                self.note(f"{what}: {phase.text} ({phase.took})")

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
        given = sys.stdout, sys.stderr
        try:
            with capture.global_and_fixture_disabled():
                yield stream
        finally:
            # A test, or doctest, may have put others in place of the capture's.
            sys.stdout, sys.stderr = given


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
