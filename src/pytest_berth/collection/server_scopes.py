"""Who shares a server: the run, a worker, or nobody, as it is dedicated to one test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.compat import pytest_private
from pytest_berth.config.options import choice

if TYPE_CHECKING:
    import pytest

    from pytest_berth.api import Service
    from pytest_berth.config.options import Settings

RUN, WORKER, TEST = "run", "worker", "test"
parse = choice(RUN, WORKER, TEST)


def slot(service: Service, settings: Settings, worker: str) -> str:
    """Return which of a service's servers a worker uses; empty for the run's only one."""
    shared = service.scope is None or settings[service.scope] != WORKER
    # A fixed port is one server's: that of the only worker, and of the next one where it crashes.
    shared = shared or (service.port is not None and settings[service.port] != 0)
    return "" if shared else worker


def is_dedicated(item: pytest.Item, service: Service, settings: Settings) -> bool:
    """Tell whether a test has a dedicated server or database, by its marker or for all tests."""
    option, value = service.own_by or (service.scope, TEST)
    if option is None:
        return False
    argument = option.name.removeprefix(f"berth_{service.prefix}_")
    marks = item.iter_markers(f"berth_{service.prefix}")
    given = (mark.kwargs.get(argument) for mark in marks)
    return next(filter(None, given), settings[option]) == value


def use_dedicated_fixtures(item: pytest.Item, service: Service) -> None:
    """Replace the shared fixtures by the dedicated ones for this test.

    The shared ones live as long as the session, so that wider-scoped fixtures can use them; the
    dedicated ones live as long as the test. Fixtures that the suite has overridden stay.
    """
    info = pytest_private.fixture_info(item)
    if info is None:
        return
    definitions = dict(info.name2fixturedefs)
    for name, own in service.own.items():
        (instead,) = pytest_private.definitions(item, own)
        found = definitions.get(name) or pytest_private.definitions(item, name)
        definitions[name] = [instead if _is_ours(each, service) else each for each in found]
    pytest_private.set_definitions(item, definitions)


def _is_ours(definition: Any, service: Service) -> bool:
    return bool(definition.func.__module__ == service.fixture_module)
