"""The one lifecycle of isolation: how any service's namespace is opened, isolated and given back.

A worker opens one namespace of a service, on the server that it shares; a test with a server of
its own opens another, there. Each test is isolated within; a test that may ask for the service only
while it runs is isolated as soon as there is a namespace. Where the server was lost, the namespace
is reopened on the one in its place before the next test, or the next fixture, writes.
"""

from __future__ import annotations

import os
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.api import Worker
from pytest_berth.collection import server_scopes
from pytest_berth.collection.requirements import describe_isolation, fixtures_reached
from pytest_berth.compat import pytest_private
from pytest_berth.config.options import mask
from pytest_berth.debug_log import debug
from pytest_berth.errors import NotRestoredError
from pytest_berth.isolation import start_recording
from pytest_berth.isolation.fixture_layers import CapturedLayers, Unwinding, is_inert
from pytest_berth.run.lost_servers import LostError, on_living_server, raise_if_lost
from pytest_berth.run.plugin_state import PLUGIN_STATE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager

    from pytest_berth.api import Namespace, Server, Service
    from pytest_berth.isolation.fixture_layers import Place
    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.run.timeline import What

_SILENT = (
    "where nobody has stopped it, or paused its clients, its log says why it does not answer; later"
    " tests get another one"
)
# By the name of the service: what this worker has opened, and what ends with the running test.
_OPENED = pytest.StashKey["dict[str, OpenNamespace]"]()
_LATE = pytest.StashKey["dict[str, ExitStack]"]()


class OpenNamespace:
    """A namespace that tests of this process work in, one after the other.

    Attributes:
        berth: The run.
        service: Its kind.
        server: The server that it is on.
        namespace: What the service has opened.
        is_in_test: Whether a test is isolated in it now.
        has_run_suite: Whether a fixture that may run code of the suite has begun since the running
            test has its clean slate.
    """

    def __init__(
        self, berth: PluginState, service: Service, server: Server, opened: Namespace
    ) -> None:
        self.berth = berth
        self.service = service
        self.server = server
        self.namespace = opened
        self.is_in_test = False
        self.has_run_suite = False
        self._layers = CapturedLayers(opened) if opened.restores else None

    @contextmanager
    def isolate(self, item: pytest.Item | None) -> Iterator[Any]:
        """Give a test a clean slate, and clean up behind it.

        Args:
            item: The test; None for one that may ask for the service only while it runs.

        Raises:
            IsolationError: The server is lost, or the test has changed what cannot be put back.
        """
        self._reopen_if_lost()
        noted = _Noted(self, item)
        with noted, self._replaced_when_useless(), self._isolated(item) as given:
            noted.is_set_up()
            self.is_in_test = True
            self.has_run_suite = False
            try:
                yield given
            finally:
                self.is_in_test = False
                noted.has_ended()

    @contextmanager
    def entering(self, place: Place, fixture: object) -> Iterator[None]:
        """Let a fixture of a wider scope write; what else it may raise is its own."""
        self._reopen_if_lost()
        layers = self._layers or self.namespace
        with self._told(), layers.entering(place, fixture):
            yield

    def leave(self, fixture: object, name: str) -> None:
        """Put back what a fixture of a wider scope wrote, as it has ended."""
        (self._layers or self.namespace).note_end(fixture)
        if not self._is_lost():
            with self._replaced_when_useless():
                if self._layers:
                    self._layers.leave(fixture)
                else:
                    self.namespace.leave(fixture, name)

    def sweep(self) -> None:
        """Remove what has come after the last test's end; on a lost server, nothing can have."""
        if not self._is_lost():
            with self._replaced_when_useless():
                self.namespace.sweep()

    def may_write(self, item: pytest.Item) -> bool:
        """Tell whether a test, or what it uses, may write into the namespace."""
        if not fixtures_reached(item, self.service) or has_own_server(item, self.service):
            return False
        return self.namespace.may_write(item)

    @contextmanager
    def _isolated(self, item: pytest.Item | None) -> Iterator[Any]:
        if self._layers is None:
            with self.namespace.isolate(item) as given:
                yield given
            return
        self._layers.begin()
        try:
            yield None
        finally:
            self._layers.end()

    def _is_lost(self) -> bool:
        return self.berth.manager.is_lost(self.server)

    def _reopen_if_lost(self) -> None:
        """Go on with the server that takes the place of a lost one."""
        if self.namespace.dedicated:
            return
        while self._is_lost():
            try:
                self.server = self.berth.server(self.service, self.server.slot)
                with self._replaced_when_useless():
                    self.namespace.reopen(self.server)
                    if self._layers:
                        self._layers.refill()
            except LostError:
                if not self._is_lost():
                    raise

    def _told(self) -> Any:
        errors = self.service.backend.connection_errors
        return raise_if_lost(self.berth, self.service, self.server, errors)

    @contextmanager
    def _replaced_when_useless(self) -> Iterator[None]:
        """Tell of a lost server; note that one of ours is lost which cannot be made clean again."""
        try:
            with self._told():
                yield
        except (LostError, NotRestoredError) as error:
            is_silent = isinstance(error, LostError)
            if is_silent and not self.service.backend.replaces_silent:
                raise
            if self.server.source != "external" and not self._is_lost():
                if is_silent:
                    error.remedy = _SILENT
                self.berth.manager.mark_lost(self.server)
            raise


class _Noted:
    """Notes in the run's timeline how long the two ends of a test's isolation take."""

    def __init__(self, opened: OpenNamespace, item: pytest.Item | None) -> None:
        self._opened = opened
        self._timeline = opened.berth.run.timeline
        self._test = item.nodeid if item else _running()
        self._kind = _kind(item, opened.service)
        self._what: What = "set up"

    def __enter__(self) -> None:
        self._began = self._timeline.now()

    def __exit__(self, kind: object, *_: object) -> None:
        self._add(failed=kind is not None)

    def is_set_up(self) -> None:
        """Note that the test can begin."""
        self._add()

    def has_ended(self) -> None:
        """Note that the test has ended."""
        self._what, self._began = "clean up", self._timeline.now()

    def _add(self, *, failed: bool = False) -> None:
        items = self._opened.namespace.take_dirty()
        about = (self._what, self._opened.service.name, self._began)
        self._timeline.add(*about, test=self._test, detail=self._kind, items=items, failed=failed)


def _running() -> str:
    """Return the id of the test that runs now, as pytest tells it."""
    return os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]


def _kind(item: pytest.Item | None, service: Service) -> str:
    """Return how a test is isolated, in one word: ``rollback``."""
    return describe_isolation(item, service).partition(":")[0] if item else "at run time"


class BetweenTests:
    """A plugin for as long as a namespace is open: it looks at what happens between tests."""

    def __init__(self, opened: OpenNamespace) -> None:
        self._opened = opened
        self._process = os.getpid()
        service = opened.service
        self._fixtures = frozenset({service.isolation, service.late_isolation})

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Remove what has come after the last test's end, where the next one may see it."""
        self._process = os.getpid()
        if not self._fixtures.isdisjoint(getattr(item, "fixturenames", ())):
            self._opened.sweep()

    @pytest.hookimpl(tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> None:
        """Let fixtures of a wider scope write, and note that one of the suite may."""
        self._expect_changes(fixturedef)
        if pytest_private.runs_suite(fixturedef):
            self._opened.has_run_suite = True

    def pytest_fixture_post_finalizer(self, fixturedef: Any) -> None:
        """Let what they have removed at their end be gone."""
        self._expect_changes(fixturedef)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: pytest.CallInfo[Any]) -> None:
        """End a process that a test has forked, which would run the next tests beside this one."""
        if os.getpid() != self._process:
            from pytest_berth.isolation import forked_process

            forked_process.end(item, call.excinfo)

    def pytest_keyboard_interrupt(self) -> None:
        """End it also where Ctrl-C or `pytest.exit` has ended the test there."""
        if os.getpid() != self._process:
            os._exit(pytest.ExitCode.INTERRUPTED)

    def pytest_enter_pdb(self) -> None:
        """Let a second connection see what the running test has done, when a debugger opens."""
        opened = self._opened
        if opened.is_in_test:
            from pytest_berth.isolation import debugger

            debugger.show(opened.berth, opened.server, opened.namespace)

    def _expect_changes(self, fixturedef: Any) -> None:
        if fixturedef.scope != "function" and not is_inert(fixturedef):
            self._opened.namespace.expect_changes()


@contextmanager
def shared(
    config: pytest.Config, service: Service, fixtures: Mapping[str, object]
) -> Iterator[Namespace]:
    """Open the worker's namespace on the server that it shares.

    Where a test asks for it while it runs, the test is isolated from now on.

    Args:
        config: pytest's configuration.
        service: The service.
        fixtures: The values of the fixtures that the service needs.
    """
    berth = config.stash[PLUGIN_STATE]
    with ExitStack() as stack:
        opened = _open_shared(berth, config, service, fixtures, stack)
        start_recording.start(config)
        known = config.stash.setdefault(_OPENED, {})
        known[service.name] = opened
        stack.callback(known.pop, service.name)
        stack.enter_context(_registered(config, BetweenTests(opened)))
        if opened.namespace.restores or opened.namespace.follows_fixtures:
            follow = Unwinding(opened.entering, opened.leave, opened.may_write)
            stack.enter_context(_registered(config, follow))
        late = config.stash.get(_LATE, {}).get(service.name)
        if late is not None:
            late.enter_context(opened.isolate(None))
        yield opened.namespace


@contextmanager
def dedicated(
    config: pytest.Config, service: Service, server: Server, fixtures: Mapping[str, object]
) -> Iterator[Namespace]:
    """Open the only namespace on a test's own server."""
    worker = _worker(config, fixtures, dedicated=True)
    known = config.stash.setdefault(_OPENED, {})
    with service.backend.open(server, worker) as namespace:
        start_recording.start(config)
        debug("%s: the namespace of one test is open: %s", service.name, mask(namespace.url))
        namespace.dedicated = True
        known[_of_test(service)] = OpenNamespace(
            config.stash[PLUGIN_STATE], service, server, namespace
        )
        try:
            yield namespace
        finally:
            del known[_of_test(service)]


@contextmanager
def isolated(item: pytest.Item, service: Service, namespace: Namespace) -> Iterator[Any]:
    """Give a test its clean slate.

    Args:
        item: The test.
        service: The service.
        namespace: The worker's, or that on the test's own server; then the test may reach the
            shared one too, by exported settings.
    """
    config, known = item.config, item.config.stash[_OPENED]
    if namespace.dedicated:
        with late(config, service), known[_of_test(service)].isolate(item) as given:
            yield given
    else:
        with known[service.name].isolate(item) as given:
            yield given


def limited(item: pytest.Item, service: Service) -> AbstractContextManager[object]:
    """Hold a test that may ask for a service only while it runs to limits of its marker."""
    if item.get_closest_marker(service.marker.name) is None:
        return nullcontext()
    return service.backend.limited(item)


@contextmanager
def late(config: pytest.Config, service: Service) -> Iterator[None]:
    """Isolate a test that may ask for a service only while it runs.

    As long as no test has needed the service there is nothing to guard, and nothing is started.
    """
    opened = config.stash.get(_OPENED, {}).get(service.name)
    if opened:
        with opened.isolate(None):
            yield
        return
    stacks = config.stash.setdefault(_LATE, {})
    with ExitStack() as stacks[service.name]:
        try:
            yield
        finally:
            # What is opened from now on, for what is torn down, is not this test's.
            del stacks[service.name]


def in_use(item: pytest.Item, service: Service) -> Namespace | None:
    """Return the namespace that a running test works in: its own, or the worker's; None if none."""
    opened = opened_for(item, service)
    return opened.namespace if opened else None


def opened_for(item: pytest.Item, service: Service) -> OpenNamespace | None:
    """Return what `in_use` is about, with its server."""
    known = item.config.stash.get(_OPENED, {})
    return known.get(_of_test(service)) or known.get(service.name)


def shared_namespace(config: pytest.Config, service: Service) -> OpenNamespace | None:
    """Return what this worker has opened on the server that it shares; None if nothing yet."""
    return config.stash.get(_OPENED, {}).get(service.name)


def has_own_server(item: pytest.Item, service: Service) -> bool:
    """Tell whether a test has a server for itself."""
    settings = item.config.stash[PLUGIN_STATE].settings
    own = service.dedicated.fixtures
    return service.namespace in own and server_scopes.is_dedicated(item, service, settings)


def _of_test(service: Service) -> str:
    return f"{service.name}-test"


def _open_shared(
    berth: PluginState,
    config: pytest.Config,
    service: Service,
    fixtures: Mapping[str, object],
    stack: ExitStack,
) -> OpenNamespace:
    worker = _worker(config, fixtures, dedicated=False)
    # First, as it says which package is missing before anything of it is imported.
    berth.server(service)

    def open_on(server: Server) -> OpenNamespace:
        namespace = stack.enter_context(service.backend.open(server, worker))
        debug("%s: the namespace of %s is open: %s", service.name, worker.name, mask(namespace.url))
        return OpenNamespace(berth, service, server, namespace)

    errors = service.backend.connection_errors
    return on_living_server(berth, service, errors, open_on)


def _worker(config: pytest.Config, fixtures: Mapping[str, object], *, dedicated: bool) -> Worker:
    berth = config.stash[PLUGIN_STATE]
    run = berth.run
    note = berth.progress.note
    return Worker(
        config, berth.settings, run.id, run.worker, run.workers, dedicated, note, fixtures
    )


@contextmanager
def _registered(config: pytest.Config, plugin: object) -> Iterator[None]:
    name = config.pluginmanager.register(plugin)
    try:
        yield
    finally:
        config.pluginmanager.unregister(name=name)
