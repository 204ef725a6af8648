"""The order of tests: modules that need no server come first, those that wait longest come last."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.collection.requirements import services_reached
from pytest_berth.config.markers import INTEGRATION_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pytest_berth.config.descriptor import Service


def is_integration(item: pytest.Item) -> bool:
    """Tell whether a test is marked as an integration test."""
    return item.get_closest_marker(INTEGRATION_NAME) is not None


def unit_modules_first(items: list[pytest.Item], services: Sequence[Service]) -> None:
    """Move whole modules to the front that need no server, then those whose servers start soonest.

    All else keeps its order.
    """
    waits: dict[str, float] = {}
    for item in filter(is_integration, items):
        needed = [service.usual_start for service in services_reached(item, services)]
        module = item.location[0]
        waits[module] = max(waits.get(module, 0.0), *needed, 0.0)
    # An integration test that reaches no service comes after the unit tests, too.
    items.sort(key=lambda item: waits.get(item.location[0], -1.0))
