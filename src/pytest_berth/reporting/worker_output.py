"""Prints the lines of xdist's workers, which have no terminal, in the controller."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_berth.run.run import Run

_LOOK_EVERY = 0.1


def send(run: Run, text: str) -> None:
    """Hand a line to the controller."""
    with run.registry.progress.open("a") as journal:
        journal.write(f"{text}\n")


class Relay:
    """Prints, until it is stopped, every line that a worker sends."""

    def __init__(self, run: Run, note: Callable[[str], None]) -> None:
        self._path = run.registry.progress
        self._note = note
        self._read = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="berth-relay", daemon=True)

    def start(self) -> None:
        """Begin to follow the workers."""
        self._thread.start()

    def stop(self) -> None:
        """Print what is left and end; may be called twice."""
        self._stopped.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._stopped.wait(_LOOK_EVERY):
            self._forward()
        self._forward()

    def _forward(self) -> None:
        if not self._path.exists():
            return
        with self._path.open("rb") as journal:
            journal.seek(self._read)
            for line in journal:
                if line.endswith(b"\n"):
                    self._read += len(line)
                    self._note(line.decode().rstrip("\n"))
