"""A run of pytest: its name, its directory, its processes."""

from __future__ import annotations

import os
import tempfile
from functools import cached_property
from pathlib import Path

MAIN = "main"
OWNER = "owner.json"
ENDED = "ended"
# Has a line for each time that not all could be removed that a run has left.
PUT_OFF = "put-off"
_PREFIX = "berth-"
_VARIABLE = "BERTH_RUN_DIRECTORY"


class Run:
    """One run, as this process takes part in it.

    Attributes:
        id: A name that no other run has.
        worker: ``"main"``, or xdist's name of this worker: ``"gw0"``.
        joined: Directory of the run that this xdist worker belongs to, None for its owner.
        workers: How many workers run tests; 1 where this process does so alone.
    """

    def __init__(self, id: str, worker: str, joined: Path | None = None) -> None:  # noqa: A002
        self.id = id
        self.worker = worker
        self.joined = joined
        self.workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")) if joined else 1
        self._held: int | None = None

    @property
    def is_owner(self) -> bool:
        """Whether this process ends what the run has started; xdist's workers never do."""
        return self.joined is None

    @cached_property
    def directory(self) -> Path:
        """The run's directory, for this user only; made when first needed."""
        if self.joined:
            return self.joined
        from pytest_berth.run import process_identity
        from pytest_berth.sources import owned_directories

        directory = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{self.id}-"))
        owned_directories.mark(directory)
        self._held = process_identity.write(directory / OWNER, process_identity.this_process())
        return directory

    @property
    def has_directory(self) -> bool:
        """Whether anything of this run can be on disk."""
        return self.joined is not None or "directory" in self.__dict__

    def variables(self) -> dict[str, str]:
        """Return the environment that makes an xdist worker join this run."""
        return {_VARIABLE: f"{self.id}:{self.directory}"}

    def join(self) -> None:
        """Let the run's other processes know that this worker lives, until it ends."""
        from pytest_berth.run import process_identity

        path = self.directory / f"worker-{self.worker}.json"
        self._held = process_identity.write(path, process_identity.this_process())

    @property
    def has_ended(self) -> bool:
        """Whether the run's owner is gone, so that nothing may be started any more."""
        return not (self.directory / OWNER).exists() or (self.directory / ENDED).exists()

    @property
    def was_here(self) -> bool:
        """Whether the owner's pid, and those of its servers, mean the same to this process."""
        from pytest_berth.run import process_identity

        owner = process_identity.read(self.directory / OWNER)
        return owner is None or owner.is_here

    def end(self) -> None:
        """Let no process of this run start anything any more."""
        (self.directory / ENDED).touch()

    def finish_testing(self) -> None:
        """Note that this process has run its tests."""
        if self.joined:
            self._finished(self.worker).touch()

    def others_are_testing(self) -> bool:
        """Tell whether another worker of the run is at its tests, and the run goes on."""
        others = self.joined and not self.has_ended and self.live_workers()
        names = [path.stem.removeprefix("worker-") for path in others or ()]
        return any(name != self.worker and not self._finished(name).exists() for name in names)

    def _finished(self, worker: str) -> Path:
        return self.directory / f"{worker}.finished"

    def live_workers(self) -> list[Path]:
        """Return what the workers that still run have written down of themselves."""
        from pytest_berth.run import heartbeat, process_identity

        noted = self.directory.glob("worker-*.json")
        return [
            path for path in noted if process_identity.read(path) and not heartbeat.has_ended(path)
        ]

    def remove(self) -> None:
        """Remove the run's directory, if it provably is one."""
        from pytest_berth.sources import owned_directories

        if self._held is not None:
            os.close(self._held)
            self._held = None
        if self.has_directory and is_directory(self.directory):
            owned_directories.remove(self.directory)


def current() -> Run:
    """Return the run that this process takes part in.

    xdist's own variables cannot tell a worker from a pytest that a test of a worker starts, which
    inherits them; the controller therefore sets a variable for its workers only, and they take
    it out of their environment at once.
    """
    joined = os.environ.pop(_VARIABLE, "")
    if not joined:
        return Run(os.urandom(4).hex(), MAIN)
    run_id, _, path = joined.partition(":")
    run = Run(run_id, os.environ["PYTEST_XDIST_WORKER"], Path(path))
    run.join()
    return run


def is_directory(path: Path) -> bool:
    """Tell whether a path is the directory of a run of this user's, in the temporary directory."""
    from pytest_berth.sources import owned_directories

    return owned_directories.is_ours(path, _PREFIX) and (path / OWNER).is_file()


def resume(directory: Path) -> Run:
    """Return a run as its owner, known by its directory only."""
    run = Run(directory.name.split("-")[1], MAIN)
    run.__dict__["directory"] = directory
    return run
