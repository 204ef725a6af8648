"""Which services a test reaches, read from the fixtures that it will use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_berth.collection import autouse, common_checks, server_scopes
from pytest_berth.compat import pytest_private
from pytest_berth.config import markers
from pytest_berth.config.loading import SETTINGS
from pytest_berth.config.markers import INTEGRATION_NAME
from pytest_berth.debug_log import debug
from pytest_berth.errors import MissingExtraError, ServiceError, SettingsError, together

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from pytest_berth.config.descriptor import Service

# Ours and pytest's: these fixtures ask for no others by `request`.
_KNOWN = ("pytest_berth.", "_pytest.")
_FIXTURES = pytest.StashKey["Fixtures"]()
# Tests of one function have the same, and come one after the other.
_LAST = pytest.StashKey["tuple[Any, Fixtures]"]()
_SERVICES = pytest.StashKey["tuple[Sequence[Service], list[Service]]"]()
_DESCRIBED = pytest.StashKey["dict[str, str]"]()


class Fixtures(NamedTuple):
    """What is read once of the fixtures that a test will use.

    Attributes:
        by_module: Their names, by the module that defines them.
        ask_at_run_time: Whether the test, or one of them, may ask for further ones while it runs.
    """

    by_module: Mapping[str, frozenset[str]]
    ask_at_run_time: bool


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
    fixtures = item.stash[_FIXTURES] = _read_fixtures(item)
    for service in server_scopes.dedicated(item, services, settings):
        server_scopes.use_dedicated_fixtures(item, service)
    reached = services_reached(item, services)
    if reached:
        item.add_marker(INTEGRATION_NAME)
    if reached or fixtures.ask_at_run_time:
        # What comes last is cleaned up first: what depends on others, and may write to them.
        ordered = sorted(services, key=lambda each: not each.depends_on)
        _put_first(
            item,
            [
                service.isolation if service in reached else service.late_isolation
                for service in reversed(ordered)
                if service in reached or fixtures.ask_at_run_time
            ],
        )
        for service in ordered:
            if service in reached and (
                service in exported or autouse.applies(item, service, settings)
            ):
                _put_before_all(item, service.isolation)
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
    signatures = {each.marker.name: each.marker.signature for each in services}
    for item in items:
        problems += _caught(markers.check, item, signatures, known)
    for service in services:
        concerned = [item for item in items if service in services_reached(item, services)]
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
    by_module = _fixtures_of(item).by_module
    found: frozenset[str] = frozenset()
    for module in (service.fixture_module, server_scopes.MADE_BY):
        if module in by_module:
            found |= service.fixtures & by_module[module]
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


def _put_first(item: pytest.Item, fixtures: Sequence[str]) -> None:
    """Make function-scoped fixtures the first of their scope, so that they are torn down last.

    Fixtures of a wider scope keep coming before them.
    """
    names = _closure(item)
    names[:] = [name for name in names if name not in fixtures]
    definitions = pytest_private.fixture_info(item).name2fixturedefs
    function_scoped = (
        index
        for index, name in enumerate(names)
        if name == "request" or (name in definitions and definitions[name][-1].scope == "function")
    )
    first = next(function_scoped, len(names))
    names[first:first] = fixtures


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


def _fixtures_of(item: pytest.Item) -> Fixtures:
    if _FIXTURES not in item.stash:
        item.stash[_FIXTURES] = _read_fixtures(item)
    return item.stash[_FIXTURES]


def _read_fixtures(item: pytest.Item) -> Fixtures:
    info = pytest_private.fixture_info(item)
    last, known = item.config.stash.get(_LAST, (None, None))
    if known is None or last is not info:
        known = _fixtures(item)
        item.config.stash[_LAST] = (info, known)
    return known


def _fixtures(item: pytest.Item) -> Fixtures:
    found: dict[str, set[str]] = {}
    asks = "request" in getattr(pytest_private.fixture_info(item), "initialnames", ())
    for name, definition in _definitions(item):
        module = definition.func.__module__
        found.setdefault(module, set()).add(name)
        asks = asks or ("request" in definition.argnames and not module.startswith(_KNOWN))
    return Fixtures({module: frozenset(names) for module, names in found.items()}, asks)


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
