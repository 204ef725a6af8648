"""The clean slate: a database number is put back as it was before a test, or a fixture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_berth.services.layers import Layers
from pytest_berth.services.redis import baseline
from pytest_berth.services.redis.baseline import Baseline

if TYPE_CHECKING:
    import redis


@dataclass
class KeyLayers(Layers[Baseline]):
    """The layers of a database number.

    Attributes:
        client: berth's own client.
        known: What the database held when it was last looked at, or put back.
    """

    client: redis.Redis
    known: Baseline = field(default=baseline.EMPTY, init=False, repr=False)

    def _settle(self) -> Baseline:
        self.known = baseline.capture(self.client, self.known)
        return self.known

    def _return_to(self, before: Baseline) -> None:
        self.known = baseline.restore(self.client, before)
        for layer in self._layers:
            if layer.before is before:
                layer.before = self.known

    def _is_same(self, one: Baseline, other: Baseline) -> bool:
        return one.values == other.values

    def _rebased(self, before: Baseline, earlier: Baseline, later: Baseline) -> Baseline:
        untouched = {
            key: value
            for key, value in before.values.items()
            if later.values.get(key) == earlier.values.get(key)
        }
        changed = {
            key: value for key, value in later.values.items() if earlier.values.get(key) != value
        }
        return Baseline({**untouched, **changed})
