"""Prestart: servers start before a test asks for them, beside tests that need none.

Each starts in a thread of its own. A test that runs meanwhile may change what all threads of a
process share: the environment, the clock, the network. So what fails here is not told: the test
that needs the server tries again, and only then a failure counts.

What the same command needed last time starts while its tests are collected. Where none of them
needs it any more, or their modules have changed the environment that it was started in, it is ended
again.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import deque
from concurrent.futures import Future, wait
from contextlib import contextmanager, nullcontext
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.collection import server_scopes
from pytest_berth.collection.ordering import is_integration
from pytest_berth.collection.requirements import fixtures_reached, is_skipped, services_reached
from pytest_berth.config.options import FAIL_FAST, START_AHEAD
from pytest_berth.debug_log import NAME, debug, ignoring
from pytest_berth.run import expected_services
from pytest_berth.sources.choose import may_serve
from pytest_berth.waiting import now

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from pytest_berth.api import Server, Service
    from pytest_berth.run.plugin_state import PluginState

_LOOK_EVERY = 0.1
_SWITCH_EVERY = 0.0002
_LAUNCH_WITHIN = 0.2
_ENDS_WITHIN = 30.0
_FAKES_WAIT_FOR = 600.0
_THREADS = "berth-start-"
_IS_KEPT_OUT = pytest.StashKey[bool]()
_NOT_NEEDED = "no selected test needs it, as one did when this command ran last"
_CHANGED = "test modules have changed the environment that it was started in"


class Prestart:
    """The servers that this process starts in threads.

    Attributes:
        berth: The run.
        environment: The process's environment before the first test.
        is_expecting: Whether anything has begun before the tests were collected.
    """

    def __init__(self, berth: PluginState) -> None:
        self.berth = berth
        self._manager = berth.manager
        self.environment = dict(os.environ)
        self.is_expecting = False
        self._begun: dict[str, Future[None]] = {}
        self._first: dict[str, Future[pytest.Item | None]] = {}
        self._reusable: dict[str, bool] = {}
        self._why_undone = ""
        self._launching: dict[str, threading.Event] = {}
        self._imported: dict[str, threading.Event] = {}

    def begin(self, service: Service, item: pytest.Item | None = None) -> None:
        """Start a service's server in a thread, and build on it what needs no fixture.

        Args:
            service: The service.
            item: The first test that needs it; None as long as no test is known: `settle` tells.
        """
        former = self._begun.get(service.name)
        first: Future[pytest.Item | None] = Future()
        if item is not None:
            first.set_result(item)
        ended: Future[None] = Future()
        self._first[service.name] = first
        self._begun[service.name] = ended
        self._launching[service.name] = threading.Event()
        self._imported[service.name] = threading.Event()
        threading.Thread(
            target=_keep_outcome,
            args=(ended, service, partial(self._start, service, first, former)),
            name=f"{_THREADS}{service.name}",
            daemon=True,
        ).start()

    def expect(self, services: Sequence[Service]) -> None:
        """Launch what the command needed last time, before its tests are known.

        Args:
            services: The services, those first that take longest.
        """
        # What is there already is soon reattached, and would only hinder the collection's imports.
        started = [service for service in services if not self.finds_reusable(service)]
        self.is_expecting = bool(started)
        for service in started:
            debug("%s: it starts now, as this command needed it last time", service.name)
            self.begin(service)
        self.let_launch(started)
        for service in reversed(started):
            self._load_drivers(service)

    def settle(self, needed: Mapping[str, pytest.Item], why: str = "") -> bool:
        """Tell what has begun before the tests were known which of them needs it first.

        What no test needs is ended. So is all, and is to be begun anew, where the collected modules
        have changed the environment: which source serves may depend on that, and servers inherit
        it.

        Args:
            needed: The first test of each service that any needs.
            why: What is told where one is ended.

        Returns:
            Whether the environment is as it was.
        """
        environment = dict(os.environ)
        is_same = _inherited(environment) == _inherited(self.environment)
        is_same = is_same or not self.is_expecting
        self.environment = environment
        self._why_undone = why if is_same or not why else _CHANGED
        for name, first in self._first.items():
            if not first.done():
                first.set_result(needed.get(name) if is_same else None)
        return is_same

    def has_begun(self, service: Service) -> bool:
        """Tell whether a service starts already for a test that needs it."""
        first = self._first.get(service.name)
        return first is not None and first.done() and first.result() is not None

    def finds_reusable(self, service: Service) -> bool:
        """Tell whether an earlier run has left a server that can be reattached; looked up once."""
        if service.name not in self._reusable:
            self._reusable[service.name] = self._manager.reuse.exists(service)
        return self._reusable[service.name]

    def let_launch(self, services: Collection[Service]) -> None:
        """Wait a moment, until the threads of services are at the launch of their servers.

        Up to there they compute, and would get half of the processor beside this thread's imports;
        from there on they wait for what they have launched, and these imports are for nothing. Of
        several workers, all but one would wait for that one.
        """
        if self.berth.run.workers > 1:
            return
        until = now() + _LAUNCH_WITHIN
        for service in services:
            self._launching[service.name].wait(max(0.0, until - now()))

    def load(
        self, services: Sequence[Service], items: Sequence[pytest.Item], running: Collection[str]
    ) -> None:
        """Import what starts and tests need, before a test can replace a module.

        Args:
            services: The services, those first that are to be ready first.
            items: The selected tests.
            running: The names of those whose servers are there already.
        """
        try:
            for service in services:
                self._load_drivers(service)
                self._imported[service.name].set()
        finally:
            for imported in self._imported.values():
                imported.set()
        for service in services:
            with ignoring(Exception, why=f"{service.name}: imports are tried again"):
                self._load(service, items, starts=service.name not in running)

    def join(self, service: Service) -> None:
        """Wait until the thread of a service has ended, with or without a server."""
        begun = self._begun.get(service.name)
        if begun is None or begun.done():
            return
        if not self._first[service.name].done():
            # Another plugin's loop runs the tests, and `start` was not called: all begins anew.
            self.settle({})
        try:
            while not begun.done():
                self.berth.on_waiting()
                self.berth.show_progress(True)
                wait([begun], _LOOK_EVERY)
        finally:
            self.berth.show_progress(False)

    def join_undone(self) -> None:
        """Wait until what was begun for no test is ended."""
        undone = [name for name, first in self._first.items() if _is_for_nothing(first)]
        if undone:
            self._manager.give_up()  # no test is left that could need another one
        wait([self._begun[name] for name in undone], _ENDS_WITHIN)

    def hold_fakes_off(self) -> None:
        """Let pyfakefs wait for the threads, whose files it would take away in the middle."""
        module: Any = sys.modules.get("pyfakefs.fake_filesystem_unittest")
        if module is None:
            return
        set_up = module.Patcher.setUp

        @wraps(set_up)
        def set_up_later(*args: Any, **kwargs: Any) -> Any:
            wait(self._begun.values(), _FAKES_WAIT_FOR)
            return set_up(*args, **kwargs)

        module.Patcher.setUp = set_up_later
        self.berth.at_end.callback(setattr, module.Patcher, "setUp", set_up)

    def end(self) -> None:
        """End all threads; called when this process has run its tests.

        A start that another worker may be waiting for is completed, all others are undone.
        """
        run, begun = self.berth.run, self._begun.values()
        self.settle({})
        run.finish_testing()
        while run.others_are_testing() and wait(begun, _LOOK_EVERY).not_done:
            pass
        self._manager.give_up()
        deadline = now() + _ENDS_WITHIN
        # In short waits, as a signal is not heeded within a long one everywhere.
        while wait(begun, _LOOK_EVERY).not_done and now() < deadline:
            pass
        self.berth.on_waiting()

    def _start(
        self, service: Service, first: Future[pytest.Item | None], former: Future[None] | None
    ) -> None:
        if former is not None:
            wait([former])
        try:
            server = self._prestart(service)
        except Exception:
            self._undo_for_nothing(service, first)
            raise
        item = self._undo_for_nothing(service, first)
        if server is None or item is None:
            return
        # Python tells of a deadlock where two threads import one package from different ends, and
        # one of them is left without it.
        self._imported[service.name].wait()
        service.backend.prebuild(server, item)

    def _prestart(self, service: Service) -> Server | None:
        launching = self._launching[service.name]
        try:
            if service.missing_package():
                return None
            self._manager.call_at_launch(service, launching.set)
            return self._manager.prestart(service)
        finally:
            launching.set()

    def _undo_for_nothing(
        self, service: Service, first: Future[pytest.Item | None]
    ) -> pytest.Item | None:
        """Return the first test that needs a service, once that is known; undo what none needs."""
        item = first.result()
        if item is None:
            self._manager.undo_prestart(service, self._why_undone)
        return item

    def _load_drivers(self, service: Service) -> None:
        # What cannot be imported, or only with a warning, the test that needs it tells.
        with ignoring(Exception, why=f"{service.name}: imports are tried again"):
            service.backend.load_drivers()

    def _load(self, service: Service, items: Sequence[pytest.Item], *, starts: bool) -> None:
        if starts:
            for source in may_serve(service, self.berth.settings, self._manager.candidates):
                source.load()
        # Where the first test waits for the server, none runs beside the thread: that imports what
        # building takes, where it has to build.
        builds = starts and not fixtures_reached(items[0], service)
        service.backend.load(
            [item for item in items if fixtures_reached(item, service)], starts=builds
        )


@contextmanager
def expecting(
    berth: PluginState, session: pytest.Session, names: Collection[str]
) -> Iterator[None]:
    """Start what the same command needed last time, while its tests are collected.

    Only where one process runs them: xdist's workers collect side by side, and wait for each other.

    Args:
        berth: The run.
        session: pytest's session, which is about to collect.
        names: The services.
    """
    may_start = berth.settings[START_AHEAD] and not berth.settings[FAIL_FAST]
    # A server at a given URL is there.
    expected = [
        service
        for service in _slowest_first(berth)
        if service.name in names and not berth.settings[service.url]
    ]
    if not (expected and _is_alone(berth, session) and may_start and _will_run(session)):
        yield
        return
    prestart = berth.prestart  # with what tells of it on the terminal
    _keep_out_of_logs(session.config, berth)
    with _threads_in_turn():
        prestart.expect(expected)
    try:
        yield
    except BaseException:
        prestart.settle({})
        raise


def start(berth: PluginState, session: pytest.Session) -> None:
    """Start the servers that the selected tests need, in threads."""
    if not (berth.settings[START_AHEAD] and _will_run(session)):
        if berth.is_expecting_servers:
            berth.prestart.settle({})
        return
    needed = list(_needed(session.items, berth))
    if not (needed or berth.is_expecting_servers):
        return
    prestart = berth.prestart  # with what tells of it on the terminal
    _keep_out_of_logs(session.config, berth)
    first = {service.name: item for service, item in needed}
    is_same = prestart.settle(first, why=_NOT_NEEDED)
    if _is_alone(berth, session):
        names = [service.name for service, _ in needed]
        expected_services.note(session.config, names, may_be_expected=is_same)
    if needed:
        _start(berth, session, needed)


def _start(
    berth: PluginState, session: pytest.Session, needed: Sequence[tuple[Service, pytest.Item]]
) -> None:
    running = {service.name for service, _ in needed if berth.prestart.finds_reusable(service)}
    with _threads_in_turn():
        for service, item in needed:
            if not berth.prestart.has_begun(service):
                berth.prestart.begin(service, item)
        berth.prestart.hold_fakes_off()
        berth.prestart.let_launch([each for each, _ in needed if each.name not in running])
        berth.prestart.load([service for service, _ in reversed(needed)], session.items, running)


@contextmanager
def _threads_in_turn() -> Iterator[None]:
    """Let the interpreter change threads often.

    A thread that starts a server hardly computes, and mostly waits: for a file, an engine, a
    process. Each time it would get its turn again only after 5 ms of this thread's imports.
    """
    usual = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_EVERY)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def _slowest_first(berth: PluginState) -> list[Service]:
    return sorted(berth.services, key=lambda service: -service.usual_start)


def _is_alone(berth: PluginState, session: pytest.Session) -> bool:
    return berth.run.is_owner and not session.config.pluginmanager.has_plugin("dsession")


def _will_run(session: pytest.Session) -> bool:
    option = session.config.getoption
    only_shown = option("collectonly", False) or option("setupplan", False)
    broken = session.testsfailed and not option("continue_on_collection_errors", False)
    return not (only_shown or broken or session.shouldfail)


def _needed(
    items: Sequence[pytest.Item], berth: PluginState
) -> Iterator[tuple[Service, pytest.Item]]:
    """Yield each service whose shared server a test needs, with the first such test."""
    settings = berth.settings
    integration = [item for item in items if is_integration(item)]
    for service in _slowest_first(berth):
        # What depends on others starts when their namespaces are there, which a test opens.
        for item in integration if not service.depends_on else ():
            shared = service in services_reached(item, berth.services) and not (
                server_scopes.is_dedicated(item, service, settings)
            )
            if shared and not is_skipped(item):
                yield service, item
                break


def _is_for_nothing(first: Future[pytest.Item | None]) -> bool:
    return first.done() and first.result() is None


def _keep_outcome(ended: Future[None], service: Service, work: Callable[[], None]) -> None:
    # Also what pytest itself raises, for instance to skip, ends here: it is no test's outcome.
    try:
        work()
    except BaseException as error:
        debug("%s: its prestart failed, a test tries again: %s", service.name, error)
        ended.set_exception(error)
    else:
        ended.set_result(None)


def _keep_out_of_logs(config: pytest.Config, berth: PluginState) -> None:
    """Keep what is logged in our threads out of the logs of the tests that run meanwhile.

    The log file has berth's own lines all the same, and so has the live log: on the terminal they
    are printed when the thread that runs the tests waits, or begins another one.
    """
    if config.stash.get(_IS_KEPT_OUT, False):
        return
    config.stash[_IS_KEPT_OUT] = True
    plugin = config.pluginmanager.get_plugin("logging-plugin")
    for name in ("caplog_handler", "report_handler"):
        _add_filter(getattr(plugin, name, None), _is_of_tests)
    _add_filter(getattr(plugin, "log_file_handler", None), _is_wanted)
    live: logging.Handler | None = getattr(plugin, "log_cli_handler", None)
    if live is None:
        return
    kept: deque[logging.LogRecord] = deque()

    def print_later(record: logging.LogRecord) -> bool:
        if not _is_of_tests(record) and _is_wanted(record):
            kept.append(record)
        return _is_of_tests(record)

    catch_up = berth.on_waiting

    def print_now() -> None:
        catch_up()
        while kept:
            with live.lock or nullcontext():
                live.emit(kept.popleft())

    _add_filter(live, print_later)
    berth.on_waiting = print_now


def _add_filter(
    handler: logging.Handler | None, wanted: Callable[[logging.LogRecord], bool]
) -> None:
    if handler is not None and wanted not in handler.filters:
        handler.addFilter(wanted)


def _is_of_tests(record: logging.LogRecord) -> bool:
    return not (record.threadName or "").startswith(_THREADS)


def _inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """Leave out libpq's variables, of which berth itself removes some, and pytest's own."""
    left_out = ("PG", "PYTEST_CURRENT_TEST")
    return {name: value for name, value in environment.items() if not name.startswith(left_out)}


def _is_wanted(record: logging.LogRecord) -> bool:
    return _is_of_tests(record) or record.name == NAME
