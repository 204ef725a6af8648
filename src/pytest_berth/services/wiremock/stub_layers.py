"""The clean slate: stubs are put back as they were before a test, or a fixture."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_berth.isolation.fixture_layers import Layers
from pytest_berth.services.wiremock.restore import Baseline

if TYPE_CHECKING:
    from pytest_berth.services.wiremock.restore import Stubs


@dataclass
class StubLayers(Layers[Baseline]):
    """The layers of a worker's stubs.

    Attributes:
        stubs: The worker's part of the server.
        known: What there was when it was last looked at, or put back.
        expects_changes: Whether fixtures may have written since.
    """

    stubs: Stubs
    known: Baseline = field(default_factory=Baseline, init=False, repr=False)
    expects_changes: bool = field(default=True, init=False)

    def refill(self) -> None:
        """Put on a server that has taken the place of a lost one what fixtures had written."""
        before = self.before_test or self.known
        self.forget_test()
        self._refill(before)

    def begin(self) -> None:
        """Begin a test: without requests that were received before it."""
        self.pay()
        if self.expects_changes:
            self.known = self.stubs.look(self.known, forget_requests=True)
            self.expects_changes = False
        else:
            self.stubs.forget_requests()
        self._lay(self.known)

    def _settle(self) -> Baseline:
        self.known = self.stubs.look(self.known)
        return self.known

    def _return_to(self, before: Baseline) -> None:
        found = self.stubs.look(before)
        self.known = self.stubs.put_back(before, found)
        for layer in self._layers:
            if layer.before is before:
                layer.before = self.known

    def _is_same(self, one: Baseline, other: Baseline) -> bool:
        return one.content == other.content

    def _rebased(self, before: Baseline, earlier: Baseline, later: Baseline) -> Baseline:
        return before.rebased(earlier, later)

    @property
    def _ends_with_session(self) -> bool:
        # On a server of others, the namespace itself removes its stubs when it is closed.
        return True
