"""``--berth-audit``: compares all servers with their baseline after every test, whatever it uses.

What is there when a test's own fixtures begin is the baseline: what fixtures of the session, the
module and the class have written is expected, and what they take back at their end. A difference
is told of the first test after which it is there, and is the baseline of the later ones.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import pytest

from pytest_berth.debug_log import debug, ignoring
from pytest_berth.isolation import lifecycle
from pytest_berth.reporting.audit_differences import GONE, State, differences
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from pytest_berth.api import Server, Service
    from pytest_berth.run.plugin_state import PluginState

REPORT, FAIL = "report", "fail"
# pytest shows of a test that has failed what is told at its teardown, by this word.
TITLE = "what the test broke, seen at its teardown (--berth-audit)"
_NAME = "berth-audit"
# What a client has closed, the server ends a moment later.
_SETTLES_WITHIN = 1.0
_MOST_LINES, _MOST_IN_SUMMARY = 20, 60
_BESIDE = " (by this test, or one that ran beside it)"


class Part(NamedTuple):
    """A part of what is compared.

    Attributes:
        server: The server's key.
        restarts: How many servers were lost before it in its place: another one is another part.
        kind: What of it: the worker's own, what workers share, or all before it is used; and which
            generation, as what was made anew has a baseline of its own.
        is_shared: Whether other workers' tests change it, too.
    """

    server: str
    restarts: int
    kind: str
    is_shared: bool


Look: TypeAlias = dict[Part, State]


def start(config: pytest.Config) -> None:
    """Register the plugin; xdist's controller only tells what its workers have found."""
    berth = config.stash[PLUGIN_STATE]
    config.pluginmanager.register(Summary(), f"{_NAME}-summary")
    if berth.run.joined or not config.getoption("numprocesses", None):
        from pytest_berth.config.options import AUDIT

        audit = Audit(config, berth, fails=berth.settings[AUDIT] == FAIL)
        config.pluginmanager.register(audit, _NAME)


class Audit:
    """The plugin of a process that runs tests."""

    def __init__(self, config: pytest.Config, berth: PluginState, *, fails: bool) -> None:
        self._config = config
        self._berth = berth
        self._fails = fails
        self._baseline: Look = {}
        # How things stood before a difference was told: who puts them back breaks nothing.
        self._unbroken: dict[tuple[Part, str], str | None] = {}
        self._is_expected = True
        self._running: pytest.Item | None = None
        self._found: dict[str, list[str]] = {}
        # What could not be compared, and whether a report has told it yet.
        self._untold: dict[str, bool] = {}

    def pytest_runtestloop(self) -> None:
        """Wait for the servers that are being started: a unit test can break them, too.

        That is after the hook, called first, which has begun to start them.
        """
        self._berth.join_prestarts()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(
        self, fixturedef: Any, request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """Expect what fixtures of a wider scope write, also where a test runs already."""
        if fixturedef.scope == "function":
            self._begin(request.node)
            return (yield)
        running, self._running = self._running, None
        if running:
            self._compare(running)
        self._is_expected = True
        try:
            return (yield)
        finally:
            if running:
                self._running = running
                self._take_baseline()
                # A function's fixtures of class scope may end before those of its own.
                fixturedef.addfinalizer(self._compare_running)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Begin a test without fixtures of its own."""
        self._begin(item)
        return (yield)

    def pytest_fixture_post_finalizer(self, fixturedef: Any) -> None:
        """Take for expected what fixtures of a wider scope take back at their end."""
        if fixturedef.scope != "function":
            self._is_expected = True
            if self._running is not None:
                self._take_baseline()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Tell in the report of a test's teardown what was found after it."""
        report = yield
        found = self._found.get(item.nodeid)
        if report.when == "teardown" and found:
            # An attribute of its own travels from xdist's workers with the report.
            vars(report)["berth_audit"] = found
            report.sections.append((TITLE, "\n".join(_bounded(found, _MOST_LINES))))
        if report.when == "teardown" and not all(self._untold.values()):
            vars(report)["berth_audit_untold"] = [*self._untold]
            self._untold = dict.fromkeys(self._untold, True)
        return report

    def _begin(self, item: pytest.Item) -> None:
        """Take the baseline before the first of a test's own fixtures, whose end is the test's."""
        if self._running is not None:
            return
        self._take_baseline()
        self._running = item
        item.addfinalizer(partial(self._end, item))

    def _compare_running(self) -> None:
        if self._running is not None:
            self._compare(self._running)

    def _end(self, item: pytest.Item) -> None:
        self._running = None
        self._compare(item)
        found = self._found[item.nodeid]
        # With several workers, what they share fails no test: it may be another one's.
        if self._fails and not all(line.endswith(_BESIDE) for line in found):
            told = "\n".join(f"  {line}" for line in _bounded(found, _MOST_LINES))
            pytest.fail(f"the test leaves a server other than it was:\n{told}", pytrace=False)

    def _take_baseline(self) -> None:
        if self._is_expected:
            self._baseline = self._look()
            self._is_expected = False

    def _compare(self, item: pytest.Item) -> None:
        """Note what differs from the baseline; it is the baseline from now on."""
        now = self._look()
        if self._differing(now):
            with ignoring(TimeoutError, why="what differs stays"):
                wait_for(lambda: not self._differing(self._look()), _SETTLES_WITHIN)
            now = self._look()
        new = self._differing(now)
        self._remember_unbroken(now)
        known = self._found.setdefault(item.nodeid, [])
        known += [line for line in new if line not in known]
        # What has come without a baseline, such as a server that was just started, gets one later.
        self._is_expected = self._is_expected or now.keys() != self._baseline.keys()
        self._baseline = now

    def _differing(self, now: Look) -> list[str]:
        found: list[str] = []
        for part in self._baseline.keys() & now.keys():
            beside = _BESIDE if part.is_shared and self._berth.run.workers > 1 else ""
            told = differences(self._baseline[part], now[part], self._unbroken_in(part))
            found += [f"{part.server}: {line}{beside}" for line in told]
        return sorted(found)

    def _remember_unbroken(self, now: Look) -> None:
        for part in self._baseline.keys() & now.keys():
            before, after = self._baseline[part], now[part]
            for name in before.keys() | after.keys():
                old, new = before.get(name, GONE), after.get(name, GONE)
                if None not in (old, new) and old != new:
                    self._unbroken.setdefault((part, name), old)

    def _unbroken_in(self, part: Part) -> State:
        return {name: text for (of, name), text in self._unbroken.items() if of == part}

    def _look(self) -> Look:
        """Return what all servers of the run hold that this worker's tests can reach."""
        found: Look = {}
        if self._berth.has_manager or self._berth.run.has_directory:
            for service in self._berth.services:
                server = self._berth.manager.ready(service)
                if server:
                    found |= self._look_at(service, server)
        return found

    def _look_at(self, service: Service, server: Server) -> Look:
        opened = lifecycle.shared_namespace(self._config, service)
        asked: dict[tuple[str, bool], Callable[[], State]]
        is_shared = not server.slot
        if opened:
            namespace = opened.namespace
            asked = {
                (f"own {namespace.generation}", False): namespace.audit,
                ("server", is_shared): namespace.audit_server,
            }
        elif server.source == "external" or self._berth.run.workers > 1:
            return {}  # What others do there cannot be told from what berth does.
        else:
            asked = {("all", is_shared): lambda: self._digest(service, server)}
        found: Look = {}
        for (kind, shared), ask in asked.items():
            try:
                found[Part(server.key, server.restarts, kind, shared)] = ask()
            except NotImplementedError as error:
                self._untold.setdefault(f"{service.name} cannot be compared: {error}", False)
            except Exception as error:  # a lost server, one that does not answer, a locked table
                debug("audit of %s: %s: %s", server.key, type(error).__name__, error)
                text = f"{type(error).__name__}: {error}".splitlines()[0]
                told = f"{service.name} could not be compared after every test: {text}"
                self._untold.setdefault(told, False)
                break  # A server that does not answer is waited for once.
        return found

    def _digest(self, service: Service, server: Server) -> State:
        """Return what is on a server on which this worker has nothing yet, and not what is ours."""
        run_id = self._berth.run.id
        lines = service.backend.state_digest(server)
        return {line: "" for line in lines if run_id not in line}


class Summary:
    """Tells at the end of the run which tests have broken what."""

    def __init__(self) -> None:
        self._found: dict[str, Sequence[str]] = {}
        self._untold: dict[str, None] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in what was found after a test."""
        found: Sequence[str] = getattr(report, "berth_audit", ())
        if found:
            self._found[report.nodeid] = found
        self._untold |= dict.fromkeys(getattr(report, "berth_audit_untold", ()))

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """List the tests in the order in which they have ended, each with what it broke first."""
        terminalreporter.write_sep("=", "berth audit")
        if not self._found and not self._untold:
            terminalreporter.write_line("every test has left the servers as they were before it")
        lines = [*self._untold, *_listed(self._found)]
        for line in _bounded(lines, _MOST_IN_SUMMARY):
            terminalreporter.write_line(line)


def _listed(found: Mapping[str, Sequence[str]]) -> Iterator[str]:
    for test, lines in found.items():
        yield test
        yield from (f"  {line}" for line in _bounded(lines, _MOST_LINES))


def _bounded(lines: Sequence[str], most: int) -> Sequence[str]:
    return lines if len(lines) <= most else [*lines[:most], f"... {len(lines) - most} more"]
