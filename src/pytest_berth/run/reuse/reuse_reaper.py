"""The reuse reaper: a process that outlives pytest and ends kept servers when their time is over.

There is one for all servers of a user. It only waits, looking once a second at a few small files,
and has `pytest_berth.cli` end what is to be ended. When no record is left, it ends: under the lock
under which new records are made known, so that none is made while it goes.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from pytest_berth.debug_log import ignoring
from pytest_berth.file_locks import LockHeldError
from pytest_berth.run import reaper
from pytest_berth.run.registry import REAPER, REGISTER, ReuseRegistry
from pytest_berth.run.reuse.records import Record, Records, leads_to_engine
from pytest_berth.waiting import now, wait_for

_LOOK_EVERY = 1.0
_TRY_AGAIN_AFTER = 5.0
_LONGEST = 3600.0
_REGISTERED_WITHIN = 10.0


def register(records: Records, record: Record) -> None:
    """Write a record, and start a reuse reaper where none runs."""
    with records.lock(REGISTER, within=_REGISTERED_WITHIN):
        records.write(record)
        ensure(records)


def ensure(records: Records) -> None:
    """Start a reuse reaper if none is there."""
    with ignoring(LockHeldError, why="a reuse reaper is there"), records.lock(REAPER):
        start(records.directory)


def start(directory: Path) -> None:
    """Start a reuse reaper, detached from this process; it ends at once where there is one."""
    command = [sys.executable, "-m", __name__, str(directory)]
    reaper.detach(command, ReuseRegistry(directory).reaper_log)


def end_apart(directory: Path, record: Record, *, early: bool) -> bool:
    """End a server in a process that finds the engine where the server was started.

    Args:
        directory: The directory of the user's records.
        record: The server's.
        early: Whether its time need not be over.

    Returns:
        Whether it has ended; else it is in use, or its engine does not answer.
    """
    command = [sys.executable, "-m", "pytest_berth.cli", "end", str(directory), record.name]
    inherited = {name: text for name, text in os.environ.items() if not leads_to_engine(name)}
    return not subprocess.run(
        [*command, *(["--early"] if early else [])],
        cwd=os.sep,
        env={**inherited, **record.engine},
        stdin=subprocess.DEVNULL,
        check=False,
    ).returncode


@dataclass
class ReuseReaper:
    """Ends servers whose time is over."""

    records: Records
    _patience: dict[str, float] = field(default_factory=dict)
    _not_before: dict[str, float] = field(default_factory=dict)

    def run(self) -> None:
        """Wait for the end of each server's time, until there is none left."""
        with ExitStack() as held:
            held.enter_context(self.records.lock(REAPER))
            while not self._leave(held):
                wait_for(self._is_due, float("inf"), max_interval=_LOOK_EVERY)
                for record in self._over():
                    if not end_apart(self.records.directory, record, early=False):
                        self._wait_with(record)

    def _is_due(self) -> bool:
        return bool(self._over()) or not self.records.all()

    def _over(self) -> list[Record]:
        records = self.records.all()
        return [each for each in records if each.is_over and self._may_try(each)]

    def _may_try(self, record: Record) -> bool:
        return now() >= self._not_before.get(record.name, 0.0) and not record.is_used

    def _wait_with(self, record: Record) -> None:
        """Try again later, and ever later: its engine may be gone for good."""
        patience = self._patience.get(record.name, _TRY_AGAIN_AFTER)
        self._not_before[record.name] = now() + patience
        self._patience[record.name] = min(2 * patience, _LONGEST)

    def _leave(self, held: ExitStack) -> bool:
        with (
            ignoring(FileNotFoundError, why="the directory was removed, and with it all records"),
            self.records.lock(REGISTER, within=_REGISTERED_WITHIN),
        ):
            if self.records.all():
                return False
            held.close()
        return True


if __name__ == "__main__":
    with ignoring(LockHeldError, why="a reuse reaper is there"):
        ReuseReaper(Records(Path(sys.argv[1]))).run()
