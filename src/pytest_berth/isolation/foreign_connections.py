"""Servers that are not of this run: an integration test that connects to one is told so.

The application may not have been told of the run's server, and then writes to the one that its
environment names for development, where nobody puts anything back.
"""

from __future__ import annotations

import os
import socket
import sys
import warnings
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from pytest_berth.collection import requirements
from pytest_berth.collection.ordering import is_integration
from pytest_berth.config.options import FOREIGN, FOREIGN_ALLOW
from pytest_berth.debug_log import debug
from pytest_berth.errors import IsolationError
from pytest_berth.isolation.application_lines import Line, caller
from pytest_berth.isolation.driver_hooks import Watch, held_by_modules

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from pytest_berth.api import Server
    from pytest_berth.isolation.driver_hooks import Place
    from pytest_berth.run.plugin_state import PluginState

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
# The databases that clients connect to only to make or drop others.
_MAINTENANCE = {"postgres", "template1"}
_USUAL = {"postgresql": 5432, "postgres": 5432, "redis": 6379, "rediss": 6379}
_USUAL |= {"mysql": 3306, "mariadb": 3306}


class ForeignServerWarning(pytest.PytestWarning):
    """A test's application has connected to a server that is not of this run."""


@dataclass(eq=False)
class Foreign:
    """A plugin that watches where the connections of integration tests lead to.

    Attributes:
        services: Names of the services that the selected tests use.
    """

    berth: PluginState
    services: frozenset[str]
    _watch: Watch = field(init=False, repr=False)
    _right: set[Place] = field(default_factory=set, init=False)
    _found: dict[Place, Line] = field(default_factory=dict, init=False)
    _raised: list[BaseException] = field(default_factory=list, init=False)
    _imported: int = field(default=0, init=False)
    _held: set[Place] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self._watch = Watch(self._see)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> Generator[None, object, object]:
        """Watch, as long as integration tests are under way, one after the other."""
        self._found.clear()
        self._raised.clear()
        if not is_integration(item):
            return (yield)
        self._look_at_modules()
        self._watch.start()
        try:
            return (yield)
        finally:
            if nextitem is None or not is_integration(nextitem):
                self.stop()

    def stop(self) -> None:
        """Watch no more."""
        self._watch.stop()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        """Watch the drivers, too, that fixtures have imported."""
        if is_integration(item):
            self._watch.start()
        try:
            return (yield)
        except IsolationError as error:
            if error in self._raised:
                self._found.clear()  # told by the test's failure
            raise

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """Tell what was seen.

        Raises:
            IsolationError: There was a foreign server, and ``berth_foreign`` is ``fail``.
        """
        yield
        for place, line in list(self._found.items()):
            told = self._told(place, line)
            if self.berth.settings[FOREIGN] == "fail":
                raise told
            # By the line that connected: what many tests do in one place is told once.
            path, number = (line.path, line.number or 1) if line.path else (str(item.path), 1)
            warnings.warn_explicit(ForeignServerWarning(str(told)), None, path, number)

    def _look_at_modules(self) -> None:
        """Find the connections that were opened on import; each is told once."""
        if len(sys.modules) == self._imported:
            return
        self._imported = len(sys.modules)
        for place, line in held_by_modules():
            is_new = place.service in self.services and place not in self._held
            if is_new and self._is_right(place):
                self._note(place, line)
            elif is_new:
                self._held.add(place)
                self._found[place] = line

    def _see(self, place: Place) -> None:
        if not self._watch.is_on or place.service not in self.services or place in self._right:
            return
        line = caller()
        if line is None:
            return  # berth's own connection
        if self._is_right(place):
            self._right.add(place)
            self._note(place, line)
            return
        if not self._found.get(place, Line()).path:
            self._found[place] = line
        # A thread of a pool would try again and again: there the test's end tells it.
        if line.path and self.berth.settings[FOREIGN] == "fail":
            error = self._told(place, line)
            self._raised.append(error)
            raise error

    def _note(self, place: Place, line: Line) -> None:
        """Note that somebody else than berth works on a server of the run."""
        timeline = self.berth.run.timeline
        timeline.add("connect", place.service, timeline.now(), detail=str(line))

    def _is_right(self, place: Place) -> bool:
        allowed = self.berth.settings[FOREIGN_ALLOW]
        names = [f"{host}:{place.port}" for host in {*place.hosts, *map(_plain, place.hosts)}]
        if any(fnmatch(name, pattern) for name in names for pattern in allowed):
            return True
        # A test may have replaced the file system.
        if not self.berth.run.directory.exists():
            return True
        ours = [server for server in self._servers(place.service) if _is_at(server, place)]
        return any(self._is_ours(server, place.database) for server in ours)

    def _servers(self, service: str) -> Iterator[Server]:
        manager = self.berth.manager
        noted = (each for stage in ("planned", "launched") for each in manager.registry.all(stage))
        return (each for each in (*manager.known, *noted) if each.service == service)

    def _is_ours(self, server: Server, database: str) -> bool:
        """Tell whether a database of a server of the run is the run's: at a URL others are, too."""
        run = self.berth.run
        if server.source != "external" or not database or run.id in database:
            return True
        if database in _MAINTENANCE:
            return True
        (service,) = (each for each in self.berth.services if each.name == server.service)
        values = service.backend.placeholders(server, self.berth.settings, run.id, run.worker)
        return values.get(f"{service.prefix}_database") == database

    def _told(self, place: Place, line: Line) -> IsolationError:
        names = ", ".join(_variables(place))
        where = f"it connected at {line}" if line.path else "where it connected cannot be seen"
        (service,) = (each for each in self.berth.services if each.name == place.service)
        value = service.address
        return IsolationError(
            f"the application connects to a server that is not of this run: {place}.",
            why=where
            + (f"; {names} in the environment names it" if names else "")
            + "; what is written there stays there",
            remedy="tell the application of the run's server:"
            f" berth_export = {names.partition(',')[0] or 'DATABASE_URL'} = {{{value}}}\n"
            f"or, where that one is meant: {FOREIGN_ALLOW.name} = {place.hosts[0]}:{place.port}",
        )


def start(config: pytest.Config, berth: PluginState, items: Sequence[pytest.Item]) -> None:
    """Watch for foreign servers of the services that the tests use."""
    used = {
        each.name for item in items for each in requirements.services_reached(item, berth.services)
    }
    foreign = Foreign(berth, frozenset(used))
    config.pluginmanager.register(foreign, "berth-foreign")
    # Where a run ends early, there is no test behind the last one, though it has one to come.
    berth.at_end.callback(foreign.stop)


def _is_at(server: Server, place: Place) -> bool:
    if server.port != place.port and not server.host.startswith("/"):
        return False
    if _plain(server.host) in map(_plain, place.hosts):
        return True
    return server.source == "external" and not _resolved(server.host).isdisjoint(place.hosts)


def _plain(host: str) -> str:
    return "localhost" if host in _LOOPBACK else host.lower()


def _resolved(host: str) -> set[str]:
    try:
        return {str(found[4][0]) for found in socket.getaddrinfo(host, None)}
    except (OSError, RuntimeError) as error:  # the latter from plugins that block the network
        debug("%s cannot be resolved: %s", host, error)
        return set()


def _variables(place: Place) -> Iterator[str]:
    """Yield the variables of the environment that name a place by a URL."""
    for name, value in os.environ.items():
        if name[:6] != "BERTH_" and _leads_to(value, place):
            yield name


def _leads_to(url: str, place: Place) -> bool:
    try:
        parts = urlsplit(url)
        port = parts.port or _USUAL.get(parts.scheme.partition("+")[0])
    except ValueError:
        return False
    named = port == place.port and _plain(parts.hostname or "") in map(_plain, place.hosts)
    return named and place.database in {"", unquote(parts.path[1:])}
