"""What one test asks of Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.config.common_options import TEST
from pytest_berth.isolation.lifecycle import has_own_server
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.services.redis.options import SCOPE
from pytest_berth.services.redis.service import REDIS

if TYPE_CHECKING:
    import pytest


def isolation(item: pytest.Item) -> str:
    """Describe the test's isolation, and why it was chosen."""
    settings = item.config.stash[PLUGIN_STATE].settings
    if not has_own_server(item, REDIS):
        return f"flushed: a database number for each worker, {settings.given(SCOPE)}"
    by_all = settings[SCOPE] == TEST
    return f"own server: {settings.given(SCOPE) if by_all else 'asked for by the marker'}"
