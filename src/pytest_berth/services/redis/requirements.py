"""What one test asks of Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.collection import server_scopes
from pytest_berth.collection.requirements import fixtures_reached
from pytest_berth.config import markers
from pytest_berth.config.options import EXPORT
from pytest_berth.errors import SettingsError
from pytest_berth.run.plugin_state import BERTH
from pytest_berth.services.redis import fixed_address
from pytest_berth.services.redis.options import SCOPE
from pytest_berth.services.redis.service import REDIS

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest


def check(items: Sequence[pytest.Item]) -> None:
    """Check what the selected tests ask for.

    Raises:
        SettingsError: A marker has an argument or value that cannot be used, or exported settings
            would have to follow each test to a server of its own.
    """
    for item in items:
        _check_marker(item)
    if not items:
        return
    berth = items[0].config.stash[BERTH]
    fixed_address.check(berth)
    if berth.settings[SCOPE] == server_scopes.TEST and berth.exports_any(REDIS):
        raise SettingsError(
            "berth_export cannot tell the application of a server that each test has for itself.",
            why=f"{berth.settings.given(SCOPE)}; {berth.settings.given(EXPORT)}",
            remedy="berth_redis_scope = worker, or the marker berth_redis(scope='test') on tests"
            " that take redis_url from the fixture",
        )


def may_write(item: pytest.Item) -> bool:
    """Tell whether a test, or what it uses, may write into the worker's database number."""
    return bool(fixtures_reached(item, REDIS)) and not is_dedicated(item)


def is_dedicated(item: pytest.Item) -> bool:
    """Tell whether a test has a server of its own."""
    return server_scopes.is_dedicated(item, REDIS, item.config.stash[BERTH].settings)


def isolation(item: pytest.Item) -> str:
    """Describe the test's isolation, and why it was chosen."""
    settings = item.config.stash[BERTH].settings
    if not is_dedicated(item):
        return f"flushed: a database number for each worker, {settings.given(SCOPE)}"
    by_all = settings[SCOPE] == server_scopes.TEST
    return f"own server: {settings.given(SCOPE) if by_all else 'asked for by the marker'}"


def _check_marker(item: pytest.Item) -> None:
    marker = markers.berth_redis(**markers.read(item, markers.berth_redis))
    if marker.scope not in {None, server_scopes.TEST}:
        raise SettingsError(
            f"a marker cannot set the scope {marker.scope!r}.",
            why=f"@pytest.mark.berth_redis(scope=...) at {item.nodeid}; who shares a server is"
            " settled for all tests, but for one that wants its own",
            remedy="use scope='test' here, or berth_redis_scope = worker in the ini file",
        )
