"""The order of tests: modules that need no server come first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.markers import INTEGRATION_NAME

if TYPE_CHECKING:
    import pytest


def is_integration(item: pytest.Item) -> bool:
    """Tell whether a test is marked as an integration test."""
    return item.get_closest_marker(INTEGRATION_NAME) is not None


def unit_modules_first(items: list[pytest.Item]) -> None:
    """Move whole modules without integration tests to the front; all else keeps its order."""
    integration = {item.location[0] for item in items if is_integration(item)}
    items.sort(key=lambda item: item.location[0] in integration)
