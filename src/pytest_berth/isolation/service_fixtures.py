"""The fixtures that every service has, made once from its descriptor.

pytest reads a fixture's requirements from its signature, so each function is given one with the
names of its service.
"""

from __future__ import annotations

from inspect import Parameter, Signature
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_berth.config.descriptor import Service

_CONFIG = "pytestconfig"


def of_service(service: Service) -> ModuleType:
    """Return a plugin with the fixtures of a service: server, namespace, address, isolation."""
    plugin = ModuleType(f"{__name__}.{service.name}")
    for function in (*_of_session(service), *_of_test(service)):
        setattr(plugin, function[0], function[1])
    return plugin


def _of_session(service: Service) -> Iterator[tuple[str, Any]]:
    prefix = service.prefix

    def server(**given: Any) -> Any:
        from pytest_berth.isolation.running_server import shared_server

        return shared_server(given[_CONFIG], service)

    def namespace(**given: Any) -> Iterator[Any]:
        from pytest_berth.isolation.lifecycle import shared

        needed = {name: given[name] for name in service.needs}
        with shared(given[_CONFIG], service, needed) as opened:
            yield opened

    def address(**given: Any) -> str:
        url: str = given[service.namespace].url
        return url

    shared_by = _scopes(service)
    about = f"""The {service.label} {service.noun} of this run: where it runs, its version, its log.

    Scope: {shared_by}.

    Raises:
        NoSourceError: No source can serve; with ``berth_missing = skip`` the test is skipped.
        StartError: It did not become ready within ``berth_start_timeout`` seconds.
    """
    names = [_CONFIG, *_before(service)]
    yield _fixture(f"{prefix}_server", server, "session", names, about, "RunningServer")
    about = "The worker's namespace, and berth's connections to it."
    names = [_CONFIG, f"{prefix}_server", *service.needs]
    yield _fixture(service.namespace, namespace, "session", names, about, "Namespace")
    about = f"""{service.address_help}

    Scope: {shared_by}.
    """
    yield _fixture(service.address, address, "session", [service.namespace], about, "str")


def _of_test(service: Service) -> Iterator[tuple[str, Any]]:
    prefix, own = service.prefix, service.dedicated.fixtures

    def isolation(**given: Any) -> Iterator[Any]:
        from pytest_berth.isolation.lifecycle import isolated

        with isolated(given["request"].node, service, given[service.namespace]) as handed:
            yield handed

    def late_isolation(**given: Any) -> Iterator[None]:
        from pytest_berth.isolation.lifecycle import late, limited

        request = given["request"]
        with limited(request.node, service), late(request.config, service):
            yield

    def server(**given: Any) -> Iterator[Any]:
        from pytest_berth.isolation.running_server import own_server

        with own_server(given[_CONFIG], service) as started:
            yield started

    def namespace(**given: Any) -> Iterator[Any]:
        from pytest_berth.isolation.lifecycle import dedicated

        needed = {name: given[name] for name in service.needs}
        server = given[f"{prefix}_server"].server
        with dedicated(given[_CONFIG], service, server, needed) as opened:
            yield opened

    def address(**given: Any) -> str:
        url: str = given[service.namespace].url
        return url

    about = "The test's clean slate: set up before, and cleaned up after all that the test uses."
    names = ["request", service.namespace]
    yield _fixture(service.isolation, isolation, "function", names, about, "object")
    about = "The clean slate of a test that may ask for the service only while it runs."
    yield _fixture(service.late_isolation, late_isolation, "function", ["request"], about, "None")
    if service.namespace in own:
        about = f"`{{}}` for a test that has a {service.noun} of its own."
        names = [_CONFIG, f"{prefix}_server", *service.needs]
        made: tuple[tuple[str, Callable[..., Any], list[str]], ...] = (
            (f"{prefix}_server", server, [_CONFIG, *_before(service)]),
            (service.namespace, namespace, names),
            (service.address, address, [service.namespace]),
        )
        for name, function, arguments in made:
            yield _fixture(own[name], function, "function", arguments, about.format(name), "object")


def _before(service: Service) -> list[str]:
    """Return the fixtures of what a service depends on: a test that has it reaches those, too.

    The address, as what comes by this way commits; and with it there is the namespace, such as a
    database.
    """
    return list(dict.fromkeys(each.address for each in service.depends_on.values()))


def _scopes(service: Service) -> str:
    if service.namespace not in service.dedicated.fixtures:
        return "session; one server for all xdist workers"
    prefix = service.prefix
    marker = f'``berth_{prefix}(scope="test")``'
    return f"session; with ``berth_{prefix}_scope = test`` or the marker {marker},\n    function"


def _fixture(
    name: str,
    function: Callable[..., Any],
    scope: Any,
    arguments: list[str],
    about: str,
    returns: str,
) -> tuple[str, Any]:
    parameters = [Parameter(each, Parameter.KEYWORD_ONLY) for each in arguments]
    made: Any = function
    made.__signature__ = Signature(parameters, return_annotation=returns)
    made.__name__ = name
    made.__doc__ = about
    return name, pytest.fixture(scope=scope, name=name)(made)
