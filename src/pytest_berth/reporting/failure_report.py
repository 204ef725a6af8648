"""What a failing integration test shows besides its traceback, each in a section of its report.

For each service that the test reaches: how it is isolated, what the service tells of it in
`failure_sections`, the server's log, and how to look for oneself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.collection.requirements import describe_isolation, services_reached
from pytest_berth.config.options import HTML, JSON
from pytest_berth.errors import BerthError, ServiceError
from pytest_berth.isolation import recorder

if TYPE_CHECKING:
    from pytest_berth.api import Server, Service
    from pytest_berth.run.plugin_state import PluginState

LOG_POSITIONS = pytest.StashKey[dict[tuple[str, int], float]]()
_MOST_LINES = 50
_FULL = 2


def note_log_positions(item: pytest.Item, berth: PluginState) -> None:
    """Remember the positions in the servers' logs when a test begins."""
    if berth.has_manager:
        servers = berth.manager.servers
        item.stash[LOG_POSITIONS] = {
            (server.key, server.restarts): berth.manager.source(server).log_position(server)
            for server in servers
        }


def complete(report: pytest.TestReport, item: pytest.Item, call: pytest.CallInfo[None]) -> None:
    """Add what berth knows to a report."""
    from pytest_berth.run.plugin_state import PLUGIN_STATE

    berth = item.config.stash[PLUGIN_STATE]
    services = services_reached(item, berth.services)
    if services and (report.when == "call" or report.failed):
        # An attribute of its own travels from xdist's workers with the report.
        vars(report)["berth_isolation"] = {
            each.name: describe_isolation(item, each) for each in services
        }
        sent = recorder.of(item.config)
        if report.when == "call" and sent and sent.count > recorder.MANY:
            from pytest_berth.reporting import repeated_queries

            repeated_queries.tell(item, report)
    if report.failed and services:
        _explain(report, call)
    if report.failed and call.excinfo:
        _add_hint(report, call.excinfo.value)
        if berth.exports:
            _tell_refused(report, call.excinfo.value, berth, services)
    if report.failed and berth.has_manager:
        from pytest_berth.reporting import failure_sections

        _tell_lost(report, call, berth, [service.name for service in services])
        running = {server.service for server in berth.manager.servers}
        for service in [service for service in services if service.name in running]:
            isolation = describe_isolation(item, service)
            report.sections.append((f"{service.name} isolation", isolation))
            error = call.excinfo.value if call.excinfo else None
            is_over = call.when == "teardown"
            told = failure_sections.of_test(item, service, error, is_over=is_over)
            look = [each for each in told if each[0].endswith(failure_sections.LOOK)]
            report.sections += [each for each in told if each not in look]
            _add_log(report, item, berth, service)
            report.sections += look
            _add_statements(report, item, service, is_over=is_over)
            if error is not None and not is_over:
                failure_sections.mask(report, item, service, error)


def add_properties(report: pytest.TestReport, item: pytest.Item) -> None:
    """Let a test's element in the JUnit file tell its isolation and its servers."""
    from pytest_berth.run.plugin_state import PLUGIN_STATE

    berth = item.config.stash[PLUGIN_STATE]
    services = services_reached(item, berth.services)
    isolation = "; ".join(f"{each.name} {describe_isolation(item, each)}" for each in services)
    names = {each.name for each in services}
    servers = berth.manager.servers if berth.has_manager and services else ()
    used = [each for each in servers if each.service in names]
    told = "; ".join(f"{s.service} {s.version} ({s.source}, {s.host}:{s.port})" for s in used)
    found = {"berth.isolation": isolation, "berth.servers": told}
    report.user_properties += [(name, value) for name, value in found.items() if value]


def complete_collection(report: pytest.CollectReport, berth: PluginState) -> None:
    """Add what berth knows to the report of something that cannot be collected."""
    call = getattr(report, "call", None)
    if berth.exports and call and call.excinfo:
        from pytest_berth.reporting import hints

        hint = hints.of_failed_import(call.excinfo.value, berth)
        if hint:
            report.sections.append((hints.NO_SERVER, hint))


def status(result: Any, report: pytest.TestReport, verbosity: int) -> Any:
    """Add to a test's verbose word, with ``-vv``, how it got its clean slate."""
    by_service = getattr(report, "berth_isolation", {})
    if verbosity < _FULL or not by_service or report.when != "call":
        return result
    isolation = "; ".join(f"{service} {told}" for service, told in by_service.items())
    category, letter, word = result
    if isinstance(word, tuple):
        return category, letter, (f"{word[0]} ({isolation})", word[1])
    return category, letter, f"{word} ({isolation})"


def _explain(report: pytest.TestReport, call: pytest.CallInfo[None]) -> None:
    """Show an error of berth's as its message: the way through our code helps nobody."""
    error = call.excinfo.value if call.excinfo else None
    if isinstance(error, BerthError):
        report.longrepr = str(error)
        if error.why or error.remedy:
            # `Repeats` reads it, also where the report comes from xdist's workers.
            vars(report)["berth_error"] = error.what


def _add_hint(report: pytest.TestReport, error: BaseException) -> None:
    from pytest_berth.reporting import hints

    found = {
        hints.EVENT_LOOPS: hints.of_event_loops(error),
        hints.CONNECTIONS: hints.of_too_many_connections(error),
    }
    report.sections += [(title, hint) for title, hint in found.items() if hint]


def _tell_refused(
    report: pytest.TestReport, error: BaseException, berth: PluginState, services: list[Service]
) -> None:
    from pytest_berth.reporting import hints

    hint = hints.of_refused_connection(error, berth, services)
    if hint:
        report.sections.append((hints.NO_SERVER, hint))


def _tell_lost(
    report: pytest.TestReport, call: pytest.CallInfo[None], berth: PluginState, services: list[str]
) -> None:
    """Say where a test has failed because its server was lost; the next one gets another."""
    from pytest_berth.run.lost_servers import LostError, find_ended

    if call.excinfo and isinstance(call.excinfo.value, LostError):
        return
    for server in berth.manager.servers:
        if server.service in services:
            try:
                told: object = find_ended(berth, server)
            except Exception as error:  # the test may have replaced what is needed for asking
                told = f"whether it has ended cannot be told: {error!r}"
            if told:
                report.sections.append((f"{server.service} server", str(told)))


def _add_log(
    report: pytest.TestReport, item: pytest.Item, berth: PluginState, service: Service
) -> None:
    for server in berth.manager.servers:
        if server.service == service.name:
            first = berth.manager.first_positions[server.key]
            since = item.stash.get(LOG_POSITIONS, {}).get((server.key, server.restarts), first)
            log = berth.manager.source(server).log(server, since)
            lines = _own_log(log, server, berth, service).strip().splitlines()
            if lines:
                text = _without_secrets("\n".join(lines[-_MOST_LINES:]))
                report.sections.append((f"{server.service} log during the test", text))


def _without_secrets(log: str) -> str:
    """Mask the texts of statements that name a secret; further lines of one are indented."""
    from pytest_berth.isolation import recorded_lines

    return "\n".join(map(recorded_lines.without_texts, re.split(r"\n(?!\s)", log)))


def _add_statements(
    report: pytest.TestReport, item: pytest.Item, service: Service, *, is_over: bool
) -> None:
    """Let what the test has sent travel with the report, where the run is to have a page."""
    from pytest_berth.run.plugin_state import PLUGIN_STATE

    settings = item.config.stash[PLUGIN_STATE].settings
    if settings[HTML] or settings[JSON]:
        from pytest_berth.reporting.page import statements

        sent = statements.of_test(item, service, is_over=is_over)
        vars(report).setdefault("berth_statements", []).extend(sent)


def _own_log(log: str, server: Server, berth: PluginState, service: Service) -> str:
    try:
        return service.backend.own_log(log, server, berth.run.id, berth.run.worker)
    except ServiceError as error:  # all of the log helps more than a report that fails
        return f"{log}\n{error}"


@dataclass(eq=False)
class Repeats:
    """Shows an error that fails many tests once; later reports name the first test.

    Attributes:
        verbosity: With ``-vv`` each is shown in full.
    """

    verbosity: int
    _shown: dict[str, str] = field(default_factory=dict)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Leave of an error that was shown already its first line, and where the others are."""
        error = getattr(report, "berth_error", None)
        if not error or not report.failed or self.verbosity >= _FULL:
            return
        shown = self._shown.setdefault(str(report.longrepr), report.nodeid)
        if shown != report.nodeid:
            report.longrepr = f"{error}\n  (why, and what to do: see {shown})"
