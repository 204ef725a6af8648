"""What pytest is told in every run, before any test needs a server: names of options and fixtures.

``manifest.json`` has been written from the descriptors, by ``python tools/write_manifest.py``; a
test compares them. So a run that needs nothing of ours imports no descriptor, nor what descriptors
are made of. Services of other distributions have no such file: they are imported where there are
any.

Its rows are as short as they are read: an option is name, type, flag, help; a fixture is name,
module, scope, and the fixtures that it asks for. Where a flag may be given without a value, what
that means comes fifth.
"""

from __future__ import annotations

import json
import os
import sys
from functools import cache
from inspect import Parameter, Signature
from types import GeneratorType, ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.compat import pytest_private

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

PATH = os.path.join(os.path.dirname(__file__), "manifest.json")  # noqa: PTH118, PTH120
GROUP = "pytest_berth.services"
NOTHING_SET = "berth: no settings, all defaults"
_OURS_BEGIN = "pytest_berth-"
_LARGEST = 1 << 20
# For the databases of Django's tests, a project's own fixtures may ask.
_MARKERS = ("berth", "integration", "django_db")
_LIVE_SERVER = "live_server"
# Their fixtures ask for none of ours by `request`; pytest-django's only where a test has databases.
_KNOWN = ("pytest_berth.", "_pytest.", "faker.", "pytest_randomly", "pytest_django.")


@cache
def read() -> Mapping[str, Any]:
    """Return what the file tells: the core's ``options``, and the ``services``."""
    with open(PATH, "rb") as file:  # noqa: PTH123
        told: Mapping[str, Any] = json.load(file)
    return told


def add_options(parser: pytest.Parser, rows: Iterable[Sequence[Any]]) -> None:
    """Register ini options, and the flags of those that have one."""
    for name, kind, flag, about, *bare in rows:
        # With None as default, getini tells "not set" from every value that can be set.
        parser.addini(name, about, type=kind, default=None)
        if flag:
            given: dict[str, Any] = {"action": "store_true" if kind == "bool" else "store"}
            if bare:
                given |= {"nargs": "?", "const": bare[0]}
            group = parser.getgroup("berth", "real servers (pytest-berth)")
            group.addoption(flag, **given, default=None, help=about)


def plugin_name(service: str) -> str:
    """Return the name of the plugin that has a service's fixtures."""
    return f"berth-{service}"


def fixture_plugin(
    service: Mapping[str, Any], find: Callable[[str, str], Callable[..., Any]]
) -> ModuleType:
    """Return a plugin with all fixtures of a service, whose functions are imported when called.

    Args:
        service: Its part of the manifest.
        find: Returns the function of a fixture, by the names of service and fixture.
    """
    plugin = ModuleType(f"{__name__}.{service['name']}")
    for name, module, scope, arguments in service["fixtures"]:
        function = _deferred(find, service["name"], name)
        parameters = [Parameter(each, Parameter.KEYWORD_ONLY) for each in arguments]
        function.__signature__ = Signature(parameters)
        function.__name__ = name
        # Tells whose fixture a test gets, where the suite may have overridden it.
        function.__module__ = module
        setattr(plugin, name, pytest.fixture(scope=scope, name=name)(function))
    return plugin


def _deferred(find: Callable[[str, str], Callable[..., Any]], service: str, name: str) -> Any:
    found: list[Callable[..., Any]] = []

    def fixture(**given: Any) -> Iterator[Any]:
        __tracebackhide__ = True
        if not found:
            found.append(find(service, name))
        made = found[0](**given)
        if isinstance(made, GeneratorType):
            yield from made
        else:
            yield made

    return fixture


def is_anything_set(config: pytest.Config) -> bool:
    """Tell whether any of the settings, or something that looks like one, is set anywhere."""
    given = config.known_args_namespace
    rows = [*read()["options"], *(row for each in read()["services"] for row in each["options"])]
    flags = (flag.lstrip("-").replace("-", "_") for _, _, flag, *_ in rows if flag)
    return (
        any(name.startswith("BERTH_") for name in os.environ)
        or any(getattr(given, flag, None) is not None for flag in flags)
        or any(name.strip().startswith("berth") for name in given.override_ini or ())
        or any(name.startswith("berth") for name in pytest_private.ini_values(config))
    )


def may_concern(item: pytest.Item) -> bool:
    """Tell whether a test may need a service, or has a marker that looks like one of ours.

    Which service it is, and whether it does, is told by `collection.requirements`.
    """
    names = getattr(item, "fixturenames", ())
    if not fixture_names().isdisjoint(names) or ("request" in names and _asks_at_run_time(item)):
        return True
    if _LIVE_SERVER in names or getattr(getattr(item, "cls", None), "databases", None):
        return True  # a test, or a test case, of Django's that has databases
    return any(mark.name.startswith(_MARKERS) for mark in item.iter_markers())


@cache
def fixture_names() -> frozenset[str]:
    """Return the names of the fixtures of all services of ours."""
    return frozenset(row[0] for service in read()["services"] for row in service["fixtures"])


def _asks_at_run_time(item: pytest.Item) -> bool:
    info = pytest_private.fixture_info(item)
    return "request" in info.initialnames or any(
        "request" in definition.argnames and not definition.func.__module__.startswith(_KNOWN)
        for definitions in info.name2fixturedefs.values()
        for definition in definitions
    )


@cache
def others() -> Sequence[str]:
    """Return the metadata directories of other distributions that bring services.

    `importlib.metadata` would take milliseconds to parse the entry points of all that is installed:
    their files are only searched for the group's name. It is looked for once: what is installed
    does not change while a process runs.
    """
    return tuple(_others())


def _others() -> Iterator[str]:
    for place in dict.fromkeys(sys.path):
        try:
            names = sorted(os.listdir(place or os.curdir))  # noqa: PTH208  a tenth of the time
        except OSError:
            names = []  # gone, or an archive
        for name in names:
            if name.endswith((".dist-info", ".egg-info")) and not name.startswith(_OURS_BEGIN):
                directory = os.path.join(place, name)  # noqa: PTH118
                if _mentions_group(os.path.join(directory, "entry_points.txt")):  # noqa: PTH118
                    yield directory


def _mentions_group(path: str) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False  # most distributions have none
    try:
        return GROUP.encode() in os.read(descriptor, _LARGEST)
    finally:
        os.close(descriptor)
