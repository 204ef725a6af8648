"""What is checked for the tests of every service: marker, scope, exports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.config import markers
from pytest_berth.config.common_options import RUN, TEST
from pytest_berth.config.loading import SETTINGS
from pytest_berth.config.options import EXPORT, SOURCE
from pytest_berth.debug_log import debug
from pytest_berth.errors import MissingExtraError, ServiceError, SettingsError, nearest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import pytest

    from pytest_berth.config.descriptor import Service
    from pytest_berth.config.options import Option, Settings


def check(
    service: Service,
    items: Sequence[pytest.Item],
    is_exported: bool,
    workers: int,
) -> None:
    """Check what the tests that reach a service ask for.

    Args:
        service: The service.
        items: The tests.
        is_exported: Whether the application learns of it from its environment.
        workers: How many workers run tests.

    Raises:
        SettingsError: A marker has an argument or value that cannot be used, or exported settings
            would have to follow each test to a server of its own, or one port would be several
            servers'.
    """
    for item in items:
        _check_marker(service, item)
    settings = items[0].config.stash[SETTINGS]
    if is_exported:
        _check_exports(service, settings)
    try:
        backend = service.backend
    except (MissingExtraError, ServiceError) as error:
        debug("%s: the tests that need it tell: %s", service.name, error)
        return
    backend.check(items)
    check_not_at_url(service, settings, [service.port])
    _check_port(service, settings, workers)


def _check_marker(service: Service, item: pytest.Item) -> None:
    given = markers.read(item, service.marker.signature)
    service.marker.signature(**given)
    for argument, values in service.marker.values.items():
        value = given.get(argument)
        if value is not None and value not in values:
            raise SettingsError(
                f"unknown {argument} {value!r}.",
                why=f"@pytest.mark.{service.marker.name}({argument}=...) at {item.nodeid}",
                remedy=nearest(str(value), values),
            )
    scope = given.get("scope")
    if scope not in (None, TEST):  # not a set: a list cannot be looked up there
        raise SettingsError(
            f"a marker cannot set the scope {scope!r}.",
            why=f"@pytest.mark.{service.marker.name}(scope=...) at {item.nodeid}; who shares a"
            f" {service.noun} is settled for all tests, but for one that wants its own",
            remedy=f"use scope='test' here, or {service.scope.name} = worker in the ini file",
        )


def check_not_at_url(service: Service, settings: Settings, options: Iterable[Option[Any]]) -> None:
    """Check that options which settle what berth starts are not set beside a server's URL.

    Args:
        service: The service.
        settings: The settings.
        options: Those that have no effect on a server given by URL.

    Raises:
        SettingsError: One of them is set, and the server is given by URL.
    """
    given = [option for option in options if settings[option]]
    source: str = settings[service.source] or settings[SOURCE]
    url: str = settings[service.url]
    if given and url and source in {"auto", "external"}:
        name, noun = given[0].name, service.noun
        raise SettingsError(
            f"{name} has no effect on a server that is given by URL.",
            why=f"{settings.given(given[0])}; {settings.given(service.url)}: what that {noun} has"
            " is not berth's to choose",
            remedy=f"leave {name} out, and tell the application by {EXPORT.name}\n"
            f"or let berth start a {noun} like that: {service.source.name} = container (or local)",
        )


def _check_port(service: Service, settings: Settings, workers: int) -> None:
    """Refuse one port for the servers of several workers: they would have to share one."""
    if settings[service.port] and settings[service.scope] != RUN and workers > 1:
        raise SettingsError(
            f"several workers cannot each have a {service.noun} at the same port.",
            why=f"{settings.given(service.port)}; {settings.given(service.scope)};"
            f" {workers} workers (xdist's -n)",
            remedy=f"leave {service.port.name} out, and tell the application each worker's:"
            f" {EXPORT.name} = ADDRESS = {{{service.address}}}\n"
            f"or share one {service.noun} ({service.scope.name} = run), or run without -n",
        )


def _check_exports(service: Service, settings: Settings) -> None:
    if settings[service.scope] == TEST:
        raise SettingsError(
            f"berth_export cannot tell the application of a {service.noun} that each test has for"
            " itself.",
            why=f"{settings.given(service.scope)}; {settings.given(EXPORT)}",
            remedy=f"{service.scope.name} = worker, or the marker {service.marker.name}"
            f"(scope='test') on tests that take {service.address} from the fixture",
        )
