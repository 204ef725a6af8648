"""Which names on a server are a worker's: those with its prefix, or all where it is alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

    from pytest_berth.api import Server, Worker

# What the server makes for itself begins so.
_OF_THE_SERVER = "."
# The template by which indices are fit for tests, on a server that berth has started.
DEFAULTS = "berth-defaults"


class Names(NamedTuple):
    """The names that a worker's tests work with.

    Attributes:
        prefix: What names begin with that no other worker of any run uses.
        of_run: What the names of all workers of the run begin with.
        is_alone: Whether nobody else uses the server, so that every name is the worker's.
        is_berths: Whether berth has started the server.
    """

    prefix: str
    of_run: str
    is_alone: bool
    is_berths: bool

    @property
    def pattern(self) -> str:
        """What the server takes for all of the worker's indices."""
        return f"*,-{_OF_THE_SERVER}*" if self.is_alone else f"{self.prefix}*"

    def has(self, name: str) -> bool:
        """Tell whether a name is the worker's, so that what bears it may be deleted."""
        if name.startswith(self.prefix):
            return True
        return self.is_alone and name != DEFAULTS and not name.startswith(_OF_THE_SERVER)

    def shared(self, names: Iterable[str]) -> set[str]:
        """Return the names that workers share, on a server where each is to use its prefix."""
        if self.is_alone or not self.is_berths:
            return set()
        return {each for each in names if not each.startswith((self.of_run, _OF_THE_SERVER))}


def of_run(run_id: str) -> str:
    """Return what the names of a run begin with: ``"berth_k3x9_"``."""
    return f"berth_{run_id}_".lower()


def prefix(run_id: str, worker: str) -> str:
    """Return what the names of a worker begin with: ``"berth_k3x9_gw0_"``."""
    return f"{of_run(run_id)}{worker.lower()}_"


def of_config(config: pytest.Config) -> str:
    """Return what the names of this process's tests begin with."""
    from pytest_berth.run.plugin_state import PLUGIN_STATE

    run = config.stash[PLUGIN_STATE].run
    return prefix(run.id, run.worker)


def of_worker(server: Server, worker: Worker) -> Names:
    """Return the names of a worker, or of the test that has the server for itself."""
    is_berths = server.source != "external"
    is_alone = is_berths and (worker.dedicated or bool(server.slot) or worker.workers == 1)
    own = prefix(worker.run_id, worker.name)
    return Names(own, of_run(worker.run_id), is_alone, is_berths)
