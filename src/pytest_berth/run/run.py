"""A run of pytest: its name, its directory, its processes."""

from __future__ import annotations

import os
import threading
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_berth.waiting import wall_clock

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_berth.run.registry import Registry
    from pytest_berth.run.timeline import Timeline

MAIN = "main"
_MAKING = threading.Lock()


class Run:
    """One run, as this process takes part in it.

    Attributes:
        id: A name that no other run has.
        worker: ``"main"``, or xdist's name of this worker: ``"gw0"``.
        joined: Directory of the run that this xdist worker belongs to, None for its owner.
        workers: How many workers run tests; 1 where this process does so alone.
        began: When the owner's process began it, in seconds since the epoch.
    """

    def __init__(
        self,
        id: str,  # noqa: A002
        worker: str,
        joined: Path | None = None,
        *,
        directory: Path | None = None,
        began: float | None = None,
    ) -> None:
        self.id = id
        self.worker = worker
        self.joined = joined
        self.workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) if joined else 1
        self.began = wall_clock() if began is None else began
        self._descriptor: int | None = None
        self._directory = joined or directory

    @property
    def is_owner(self) -> bool:
        """Whether this process ends what the run has started; xdist's workers never do."""
        return self.joined is None

    @property
    def directory(self) -> Path:
        """The run's directory, for this user only; made when first needed."""
        if self._directory is None:
            with _MAKING:
                self._directory = self._directory or self._make_directory()
        return self._directory

    @property
    def registry(self) -> Registry:
        """What stands in the run's directory."""
        from pytest_berth.run.registry import Registry

        return Registry(self.directory)

    @cached_property
    def timeline(self) -> Timeline:
        """What took how long; made when the first such thing is done."""
        from pytest_berth.run.timeline import Timeline

        return Timeline(self.worker, self.began, self.registry if self.joined else None)

    def _make_directory(self) -> Path:
        from pytest_berth.run import process_identity, registry
        from pytest_berth.sources import owned_directories

        # Whoever is killed between the record and this leaves what names no process.
        this = process_identity.this_process()
        directory = registry.make_directory(self.id)
        try:
            owner = registry.Registry(directory).owner
            self._descriptor = process_identity.write(owner, this, registry.FORMAT)
        except BaseException:  # the disk is full, or Ctrl-C
            owned_directories.remove(directory)
            raise
        return directory

    @property
    def has_directory(self) -> bool:
        """Whether anything of this run can be on disk."""
        return self._directory is not None

    def join(self) -> None:
        """Let the run's other processes know that this worker lives, until it ends."""
        from pytest_berth.run import process_identity

        path = self.registry.worker(self.worker)
        self._descriptor = process_identity.write(path, process_identity.this_process())

    @property
    def has_ended(self) -> bool:
        """Whether the run's owner is gone, so that nothing may be started any more."""
        return not self.registry.owner.exists() or self.registry.ended.exists()

    @property
    def was_here(self) -> bool:
        """Whether the owner's pid, and those of its servers, mean the same to this process."""
        from pytest_berth.run import process_identity

        owner = process_identity.read(self.registry.owner)
        return owner is None or owner.is_here

    def end(self) -> None:
        """Let no process of this run start anything any more."""
        self.registry.ended.touch()

    def finish_testing(self) -> None:
        """Note that this process has run its tests."""
        if self.joined:
            self.registry.finished(self.worker).touch()

    def others_are_testing(self) -> bool:
        """Tell whether another worker of the run is at its tests, and the run goes on."""
        if not self.joined or self.has_ended:
            return False
        others = (name for name in self.live_workers() if name != self.worker)
        return any(not self.registry.finished(name).exists() for name in others)

    def live_workers(self) -> list[str]:
        """Return the names of the workers that still run."""
        from pytest_berth.run import heartbeat, process_identity

        return [
            name
            for name, path in self.registry.workers().items()
            if process_identity.read(path) and not heartbeat.has_ended(path)
        ]

    def remove(self) -> None:
        """Remove the run's directory, if it provably is one."""
        from pytest_berth.run import registry
        from pytest_berth.sources import owned_directories

        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None
        if self.has_directory and registry.is_directory(self.directory):
            owned_directories.remove(self.directory)


def resume(directory: Path) -> Run:
    """Return a run as its owner, known by its directory only."""
    from pytest_berth.run import registry

    return Run(registry.run_id(directory), MAIN, directory=directory)
