"""Layers of a namespace that can tell everything it holds, by key, and put it back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.isolation.layers import Layers

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.api import Namespace


class CapturedLayers(Layers["Mapping[Any, Any]"]):
    """The layers of a namespace whose `restores` is set.

    Attributes:
        namespace: The namespace.
    """

    def __init__(self, namespace: Namespace) -> None:
        super().__init__()
        self.namespace = namespace
        self._known: Mapping[Any, Any] = {}

    def refill(self) -> None:
        """Put on a new server what fixtures had written; what the last test wrote is gone."""
        self.forget_test()
        self._return_to(self._known)

    def _settle(self) -> Mapping[Any, Any]:
        self._known = dict(self.namespace.capture())
        return self._known

    def _return_to(self, before: Mapping[Any, Any]) -> None:
        self.namespace.restore(before)
        self._known = before

    @property
    def _ends_with_session(self) -> bool:
        return False  # an external server, which others use, outlives the session

    def _is_same(self, one: Mapping[Any, Any], other: Mapping[Any, Any]) -> bool:
        return one == other

    def _rebased(
        self, before: Mapping[Any, Any], earlier: Mapping[Any, Any], later: Mapping[Any, Any]
    ) -> Mapping[Any, Any]:
        kept = {key: value for key, value in before.items() if later.get(key) == earlier.get(key)}
        changed = {key: value for key, value in later.items() if earlier.get(key) != value}
        return {**kept, **changed}
