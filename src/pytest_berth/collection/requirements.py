"""Which services a test reaches, read from the fixtures that it will use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.collection import autouse, common_checks, server_scopes
from pytest_berth.compat import pytest_private
from pytest_berth.config import markers
from pytest_berth.config.loading import SETTINGS
from pytest_berth.config.markers import INTEGRATION_NAME
from pytest_berth.debug_log import debug
from pytest_berth.errors import MissingExtraError, ServiceError, SettingsError, together

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from pytest_berth.config.descriptor import Service

# Ours and pytest's: these fixtures ask for no others by `request`.
_KNOWN = ("pytest_berth.", "_pytest.")
_REACHED = pytest.StashKey[dict[str, frozenset[str]]]()
_SERVICES = pytest.StashKey["tuple[Sequence[Service], list[Service]]"]()
_DESCRIBED = pytest.StashKey["dict[str, str]"]()


def prepare(item: pytest.Item, services: Sequence[Service], exported: Collection[Service]) -> bool:
    """Mark a test as an integration test if it is one, and put its clean slates in place.

    Args:
        item: The test.
        services: All services.
        exported: Those that the application learns of from its environment.

    Returns:
        Whether it is marked, by this or by the suite.
    """
    settings = item.config.stash[SETTINGS]
    item.stash[_REACHED] = _names_by_module(item)
    # What comes first is cleaned up first: what depends on others, and may write to them.
    for service in sorted(services, key=lambda each: not each.depends_on):
        if server_scopes.is_dedicated(item, service, settings):
            server_scopes.use_dedicated_fixtures(item, service)
        if fixtures_reached(item, service):
            item.add_marker(INTEGRATION_NAME)
            _put_first(item, service.isolation)
            if service in exported or autouse.applies(item, service, settings):
                _put_before_all(item, service.isolation)
        elif asks_at_run_time(item):
            _put_first(item, service.late_isolation)
    return item.get_closest_marker(INTEGRATION_NAME) is not None


def check(
    items: Sequence[pytest.Item],
    services: Sequence[Service],
    exported: Collection[Service],
    workers: int,
) -> None:
    """Check markers, and what is written about each service for the tests that reach it.

    Args:
        items: The selected tests.
        services: All services.
        exported: Those that the application learns of from its environment.
        workers: How many workers run tests.

    Raises:
        SettingsError: Markers, paths, modules or attributes are wrong; it tells all of them.
    """
    if not items:
        return
    problems = [*_caught(autouse.check, items[0].config.stash[SETTINGS], services)]
    known = {line.partition("(")[0].partition(":")[0] for line in items[0].config.getini("markers")}
    for item in items:
        problems += _caught(markers.check, item, services, known)
    for service in services:
        concerned = [item for item in items if fixtures_reached(item, service)]
        asked = (service in exported, workers)
        found = _caught(common_checks.check, service, concerned, *asked) if concerned else []
        # What is wrong with other tests is looked for only where something is.
        for item in concerned if found else ():
            found += _caught(common_checks.check, service, [item], *asked)
        problems += found
    problem = together(problems)
    if problem:
        raise problem


def _caught(check: Callable[..., None], *arguments: object) -> list[SettingsError]:
    try:
        check(*arguments)
    except SettingsError as error:
        return [error]
    return []


def fixtures_reached(item: pytest.Item, service: Service) -> frozenset[str]:
    """Return the names of a service's fixtures that a test reaches.

    A fixture that the suite has overridden counts only if the override asks for the original. The
    clean slate is among them where ``berth_autouse`` gives it to the test.
    """
    if _REACHED not in item.stash:
        item.stash[_REACHED] = _names_by_module(item)
    by_module = item.stash[_REACHED]
    modules = (service.fixture_module, server_scopes.MADE_BY)
    found = service.fixtures & {name for each in modules for name in by_module.get(each, ())}
    if autouse.applies(item, service, item.config.stash[SETTINGS]):
        return found | {service.isolation}
    return found


def wider_users(item: pytest.Item, fixtures: AbstractSet[str]) -> Iterator[tuple[str, str, str]]:
    """Yield the fixtures of a wider scope than the test's that ask for one of *fixtures*.

    Returns:
        Name, scope, and the name of the fixture asked for.
    """
    for name, definition in _definitions(item):
        if definition.scope != "function":
            for asked in fixtures & set(definition.argnames):
                yield name, definition.scope, asked


def services_reached(item: pytest.Item, services: Sequence[Service]) -> list[Service]:
    """Return the services whose fixtures a test reaches."""
    known = item.stash.get(_SERVICES, None)
    if known is None or known[0] is not services:
        found = [service for service in services if fixtures_reached(item, service)]
        known = item.stash[_SERVICES] = (services, found)
    return known[1]


def describe_isolation(item: pytest.Item, service: Service) -> str:
    """Describe how a test gets its clean slate of a service, and why so; empty where it cannot."""
    known = item.stash.setdefault(_DESCRIBED, {})
    if service.name not in known:
        known[service.name] = _described(item, service)
    return known[service.name]


def _described(item: pytest.Item, service: Service) -> str:
    try:
        return service.backend.describe_isolation(item)
    except (MissingExtraError, ServiceError) as error:
        debug("%s: the test itself tells: %s", service.name, error)
        return ""


def asks_at_run_time(item: pytest.Item) -> bool:
    """Tell whether a test or one of its fixtures may ask for further fixtures while it runs."""
    own = "request" in getattr(pytest_private.fixture_info(item), "initialnames", ())
    return own or any(
        "request" in definition.argnames and not definition.func.__module__.startswith(_KNOWN)
        for _, definition in _definitions(item)
    )


def active_fixtures(item: pytest.Item) -> Collection[str]:
    """Return the names of a test's fixtures, also of those that it has asked for while it runs."""
    return pytest_private.active_fixtures(item)


def is_skipped(item: pytest.Item) -> bool:
    """Tell whether a mark skips the test, or it cannot be told as the mark itself is wrong."""
    try:
        return pytest_private.is_skipped(item)
    except pytest.fail.Exception:
        return True


def overridden_in(item: pytest.Item, fixture: str) -> str:
    """Return the module whose definition of a fixture a test gets."""
    definitions = pytest_private.fixture_info(item).name2fixturedefs.get(fixture, ())
    return definitions[-1].func.__module__ if definitions else ""


def _put_first(item: pytest.Item, fixture: str) -> None:
    """Make a function-scoped fixture the first of its scope, so that it is torn down last.

    Fixtures of a wider scope keep coming before it.
    """
    names = _closure(item)
    if fixture in names:
        names.remove(fixture)
    definitions = pytest_private.fixture_info(item).name2fixturedefs
    function_scoped = (
        index
        for index, name in enumerate(names)
        if name == "request" or (name in definitions and definitions[name][-1].scope == "function")
    )
    names.insert(next(function_scoped, len(names)), fixture)


def _put_before_all(item: pytest.Item, isolation: str) -> None:
    """Make the session's fixtures that an isolation fixture asks for the first of all.

    The suite's own may reach the server by the application, without asking for a fixture.
    """
    names = _closure(item)
    overriding = pytest_private.fixture_info(item).name2fixturedefs
    (definition,) = pytest_private.definitions(item, isolation)
    for argument in definition.argnames:
        found = overriding.get(argument) or pytest_private.definitions(item, argument)
        if found and found[-1].scope == "session":
            if argument in names:
                names.remove(argument)
            names.insert(0, argument)


def _names_by_module(item: pytest.Item) -> dict[str, frozenset[str]]:
    """Return the names of the fixtures that a test reaches, by the module that defines them."""
    found: dict[str, set[str]] = {}
    for name, definition in _definitions(item):
        found.setdefault(definition.func.__module__, set()).add(name)
    return {module: frozenset(names) for module, names in found.items()}


def _definitions(item: pytest.Item) -> Iterator[tuple[str, Any]]:
    """Yield the fixture definitions that pytest will run, following overrides."""
    info = pytest_private.fixture_info(item)
    pending = [(name, 1) for name in getattr(info, "initialnames", ())]
    seen = set()
    while pending:
        name, level = pending.pop()
        definitions = info.name2fixturedefs.get(name, ())
        if (name, level) in seen or level > len(definitions):
            continue
        seen.add((name, level))
        definition = definitions[-level]
        yield name, definition
        pending += [(arg, level + 1 if arg == name else 1) for arg in definition.argnames]


def _closure(item: pytest.Item) -> list[str]:
    """Return the list that pytest itself goes by, also where it is empty."""
    names: list[str] | None = getattr(item, "fixturenames", None)
    return [] if names is None else names
