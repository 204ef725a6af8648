"""Who shares a server: the run, a worker, or nobody, as it is dedicated to one test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.compat import pytest_private
from pytest_berth.config.common_options import WORKER
from pytest_berth.config.options import SOURCE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pytest

    from pytest_berth.config.descriptor import Service
    from pytest_berth.config.options import Settings

# The module of the fixtures that are made for every service.
MADE_BY = "pytest_berth.isolation.service_fixtures"


def slot(service: Service, settings: Settings, worker: str) -> str:
    """Return which of a service's servers a worker uses; empty for the run's only one."""
    shared = settings[service.scope] != WORKER or _is_given(service, settings)
    # A fixed port is one server's: that of the only worker, and of the next one where it crashes.
    shared = shared or settings[service.port] != 0
    return "" if shared else worker


def _is_given(service: Service, settings: Settings) -> bool:
    """Tell whether a URL names the server, while nothing asks for one of each worker's own."""
    source = settings[service.source] or settings[SOURCE]
    by_default = settings.origin(service.scope) == "default"
    return by_default and bool(settings[service.url]) and source in {"auto", "external"}


def is_dedicated(item: pytest.Item, service: Service, settings: Settings) -> bool:
    """Tell whether a test has something of its own, by its marker or for all tests.

    A server or, with Postgres, a database.
    """
    option, value, _ = service.dedicated
    argument = option.name.removeprefix(f"berth_{service.prefix}_")
    marks = item.iter_markers(f"berth_{service.prefix}")
    given = (mark.kwargs.get(argument) for mark in marks)
    return next(filter(None, given), settings[option]) == value


def dedicated(
    item: pytest.Item, services: Iterable[Service], settings: Settings
) -> Iterator[Service]:
    """Yield the services of which a test has something of its own."""
    marked = {mark.name for mark in item.iter_markers()}
    for service in services:
        option, value, _ = service.dedicated
        may_be = settings[option] == value or f"berth_{service.prefix}" in marked
        if may_be and is_dedicated(item, service, settings):
            yield service


def use_dedicated_fixtures(item: pytest.Item, service: Service) -> None:
    """Replace the shared fixtures by the dedicated ones for this test.

    The shared ones live as long as the session, so that wider-scoped fixtures can use them; the
    dedicated ones live as long as the test. Fixtures that the suite has overridden stay.
    """
    info = pytest_private.fixture_info(item)
    if info is None:
        return
    definitions = dict(info.name2fixturedefs)
    for name, own in service.dedicated.fixtures.items():
        (instead,) = pytest_private.definitions(item, own)
        found = definitions.get(name) or pytest_private.definitions(item, name)
        definitions[name] = [instead if _is_ours(each, service) else each for each in found]
    pytest_private.set_definitions(item, definitions)


def _is_ours(definition: Any, service: Service) -> bool:
    return definition.func.__module__ in {service.fixture_module, MADE_BY}
