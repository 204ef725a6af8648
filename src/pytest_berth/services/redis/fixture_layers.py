"""The clean slate: database numbers are put back as they were before a test, or a fixture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_berth.isolation.fixture_layers import Layers
from pytest_berth.services.redis import restore
from pytest_berth.services.redis.restore import Baseline

if TYPE_CHECKING:
    from pytest_berth.services.redis.worker_databases import WorkerDatabases


@dataclass
class KeyLayers(Layers[Baseline]):
    """The layers of a worker's databases.

    Attributes:
        databases: The database numbers.
        known: What there was when it was last looked at, or put back.
        untouched: No keys, and what stood beside before any test.
        is_settled: Whether what was found between two tests is all that there is still.
    """

    databases: WorkerDatabases
    known: Baseline = field(default_factory=Baseline, init=False, repr=False)
    untouched: Baseline = field(init=False, repr=False)
    is_settled: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        standing = restore.capture(self.databases, self.known).standing
        self.known = self.untouched = Baseline(standing=standing)

    def refill(self) -> None:
        """Put on a server that has taken the place of a lost one what fixtures had written.

        What the test wrote in which the server was lost is gone.
        """
        self.forget_test()
        began, there = (
            self.untouched.standing,
            restore.capture(self.databases, Baseline()).standing,
        )
        for layer in self._layers:
            layer.before = layer.before.on_another(began, there)
        self._owed = [before.on_another(began, there) for before in self._owed]
        self.known = self.known.on_another(began, there)
        self.untouched = self.untouched.on_another(began, there)
        self._refill(self.known)

    def sweep(self) -> None:
        """Delete the keys that are not known; none that comes later is taken for a fixture's."""
        left = restore.remove_others(self.databases, self.known)
        self.known, self.is_settled = left or self.known, left is not None

    def _settle(self) -> Baseline:
        if not self.is_settled:
            self.known = restore.capture(self.databases, self.known)
        self.is_settled = False
        return self.known

    def _return_to(self, before: Baseline) -> None:
        self.is_settled = False
        self.known = restore.restore(self.databases, before)
        for layer in self._layers:
            if layer.before is before:
                layer.before = self.known

    def _is_same(self, one: Baseline, other: Baseline) -> bool:
        return one.values == other.values and one.standing == other.standing

    def _rebased(self, before: Baseline, earlier: Baseline, later: Baseline) -> Baseline:
        untouched = {
            key: value
            for key, value in before.values.items()
            if later.values.get(key) == earlier.values.get(key)
        }
        changed = {
            key: value for key, value in later.values.items() if earlier.values.get(key) != value
        }
        is_set = later.standing != earlier.standing
        standing = later.standing if is_set else before.standing
        return Baseline({**untouched, **changed}, standing=standing)
