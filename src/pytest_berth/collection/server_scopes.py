"""Who shares a server: the run, a worker, or nobody, as it is dedicated to one test."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from pytest_berth.config.options import choice

if TYPE_CHECKING:
    from collections.abc import Sequence

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
    # pytest has no public way to choose a fixture's definition for one test.
    info = getattr(item, "_fixtureinfo", None)
    if info is None:
        return
    definitions = dict(info.name2fixturedefs)
    for name, own in service.own.items():
        (instead,) = _definitions(item, own)
        found = definitions.get(name) or _definitions(item, name)
        definitions[name] = [instead if _is_ours(each, service) else each for each in found]
    function: Any = item
    function._fixtureinfo = dataclasses.replace(info, name2fixturedefs=definitions)
    # The request has kept the definitions that it was made with.
    function._initrequest()


def _is_ours(definition: Any, service: Service) -> bool:
    return bool(definition.func.__module__ == service.fixture_module)


def _definitions(item: pytest.Item, name: str) -> Sequence[Any]:
    found: Sequence[Any] = item.session._fixturemanager.getfixturedefs(name, item) or ()
    return found
