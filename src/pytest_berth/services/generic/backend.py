"""What every service of any image does, as it is declared."""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property, partial
from http.client import HTTPException
from typing import TYPE_CHECKING, Any

from pytest_berth.api import Backend, Container, Credentials
from pytest_berth.config.common_options import RUN
from pytest_berth.config.options import START_TIMEOUT
from pytest_berth.errors import NoSourceError, NotOursError, NotReadyError, SettingsError
from pytest_berth.isolation.running_server import handle
from pytest_berth.services.generic import container, reset
from pytest_berth.services.generic.namespace import GenericNamespace
from pytest_berth.services.generic.ready import AllPortsAnswer, CommandSucceeds, LogShows, Place
from pytest_berth.services.generic.server import GenericServer, reached_at, url
from pytest_berth.sources.container_engine import connect
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pytest

    from pytest_berth.api import Server, Service, Worker
    from pytest_berth.config.options import Option, Settings
    from pytest_berth.errors import BerthError
    from pytest_berth.services.generic.container import RunningContainer
    from pytest_berth.services.generic.declaration import Declaration
    from pytest_berth.sources.container_engine import Engine


class Generic(Backend):
    """A service of any image.

    Args:
        service: Its descriptor.
        declared: What is declared of it.
        allow_reset: The option that names servers of others which tests may empty.
    """

    replaces_silent = True

    def __init__(
        self, service: Service, declared: Declaration, allow_reset: Option[tuple[str, ...]]
    ) -> None:
        super().__init__(service)
        self._declared = declared
        self._allow_reset = allow_reset

    def account(self, settings: Settings) -> Credentials:
        """Return no account: berth knows none of this service."""
        return Credentials("", "", "")

    def container(self, settings: Settings, account: Credentials) -> Container:
        """Describe the container."""
        declared = self._declared
        first, *further = dict.fromkeys(declared.ports.values())
        return Container(
            declared.image,
            first,
            declared.environment,
            declared.command,
            {inside: path.read_bytes() for inside, path in declared.files.items()},
            declared.in_memory,
            further_ports=further,
            fixed_ports=isinstance(declared.reset, reset.Restart),
            options=declared.options,
        )

    def local_obstacle(self, settings: Settings) -> BerthError | None:
        """Tell that an image is all that is known of it."""
        return NoSourceError(
            f"{self._declared.name} cannot run as a local process.",
            why=f"{self._declared.origin} declares it by its image, {self._declared.image}",
            remedy=f"start a container engine, or set berth_{self.service.prefix}_url",
        )

    def probe(self, server: Server) -> str:
        """Look once whether it is ready, and return the image's tag.

        Raises:
            NotReadyError: It is not.
        """
        declared = self._declared
        check = declared.ready
        looks_inside = isinstance(check, (LogShows, CommandSucceeds))
        if check is None or (looks_inside and server.source == "external"):
            check = AllPortsAnswer(tuple(declared.ports.values()))
        find = partial(reached_at, server, declared)
        check(Place(server.host, find, partial(self._container, server)))
        _, _, tag = server.detail.rpartition(":")
        return tag if server.source == "container" and "/" not in tag else "?"

    @contextmanager
    def open(self, server: Server, worker: Worker) -> Iterator[GenericNamespace]:
        """Open the server, which this worker has for itself wherever tests empty it."""
        if self._declared.reset is None:
            yield GenericNamespace(self.url(server), None)
            return
        self._require_ours(server, worker)
        given = handle(worker.config, self.service, server)
        namespace = GenericNamespace(self.url(server), partial(self._empty, given, worker.settings))
        if not isinstance(self._declared.reset, reset.Restart):
            namespace.reset()  # what is wrong with it is told before a test has written anything
        yield namespace

    def running_server(self, running: Any) -> GenericServer:
        """Return what tests are given of the server."""
        return GenericServer(running, self._declared, self._container)

    def placeholders(
        self, server: Server, settings: Settings, run_id: str, worker: str
    ) -> Mapping[str, object]:
        """Return the placeholders' values; port and URL take the name of a port as a format."""
        prefix, declared = self.service.prefix, self._declared
        return {
            self.service.address: _ByPort.of(partial(url, server, declared)),
            f"{prefix}_host": server.host,
            f"{prefix}_port": _ByPort.of(
                lambda name: str(reached_at(server, declared, declared.port(name)))
            ),
        }

    def connection_errors(self) -> tuple[type[Exception], ...]:
        """Return what a reset raises when a connection fails."""
        return (OSError, HTTPException)

    def check(self, items: Sequence[pytest.Item]) -> None:
        """Check that the reset can be called, and disturbs no other worker's tests.

        Raises:
            SettingsError: It cannot, or does.
        """
        from pytest_berth.run.plugin_state import PLUGIN_STATE

        berth, how = items[0].config.stash[PLUGIN_STATE], self._declared.reset
        if isinstance(how, reset.Function):
            how.find()
        if how and berth.settings[self.service.scope] == RUN and berth.run.workers > 1:
            raise SettingsError(
                f"{self._declared.name} would be emptied under other workers' tests.",
                why=f"{berth.settings.given(self.service.scope)}, {berth.run.workers} workers"
                f" (xdist's -n), and {self._declared.origin} gives it reset={how}",
                remedy=f"{self.service.scope.name} = worker gives each worker a server of its own",
            )

    def describe_isolation(self, item: pytest.Item) -> str:
        """Describe how a test gets its clean slate, and why so."""
        from pytest_berth.isolation.lifecycle import has_own_server

        declared = self._declared
        if has_own_server(item, self.service):
            return "own server: asked for by scope"
        if declared.reset is None:
            return f"not isolated: {declared.origin} gives {declared.name} no reset="
        return f"reset: {declared.reset} after each test, a server for each worker"

    def _empty(self, given: GenericServer, settings: Settings) -> None:
        how = self._declared.reset
        assert how is not None, "else there is no such namespace"
        try:
            how(given, partial(self._require_container, given))
        except OSError:
            self._require_container(given)  # where that is why, it says so
            raise
        if isinstance(how, reset.Restart):
            wait_for(partial(self._is_ready, given), settings[START_TIMEOUT])

    def _require_container(self, given: GenericServer) -> None:
        """Require that berth's own container answers; a server of others is allowed by name."""
        if given.server.source == "container":
            given.container().require()

    def _is_ready(self, given: GenericServer) -> bool:
        try:
            return bool(self.probe(given.server))
        except NotReadyError:
            return False

    def _container(self, server: Server) -> RunningContainer:
        return container.of(self._engine, server)

    @cached_property
    def _engine(self) -> Engine:
        return connect()

    def _require_ours(self, server: Server, worker: Worker) -> None:
        """Refuse to empty a server that others use.

        Raises:
            NotOursError: It is given by URL, and not named, or several workers would share it.
        """
        if server.source != "external":
            return
        name, address = self._declared.name, f"{server.host}:{server.port}"
        if address not in worker.settings[self._allow_reset]:
            raise NotOursError(
                f"the {name} at {address} may not be emptied: it is not berth's.",
                why=f"reset={self._declared.reset} empties the whole server, and others may have"
                " data there",
                remedy=f"{self._allow_reset.name} = {address}  # only if all of it may go",
            )
        if worker.workers > 1:
            raise NotOursError(
                f"several workers cannot share the {name} at {address}.",
                why="they would empty it under each other",
                remedy=f"run without -n, or leave berth_{self.service.prefix}_url out",
            )


class _ByPort(str):
    """The value of a placeholder for the first port; its format is the name of another one."""

    _find: Callable[[str], str]

    @classmethod
    def of(cls, find: Callable[[str], str]) -> _ByPort:
        """Return what finds the value of each port."""
        made = cls(find(""))
        made._find = find
        return made

    def __format__(self, name: str) -> str:
        """Return it for a port.

        Raises:
            SettingsError: There is no port of that name.
        """
        return self._find(name)
