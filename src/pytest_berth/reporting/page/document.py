"""The document of a run, in the form that ``docs/how-to/run-report.md`` describes.

Made of what can be written as JSON. A change of what a name means, or of a name, makes another
`VERSION`; a name more does not.
"""

from __future__ import annotations

import os
import platform
from collections import Counter, defaultdict
from datetime import datetime, timezone
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.config.options import HINTS, KEEP_FAILED
from pytest_berth.isolation.application_lines import is_library
from pytest_berth.reporting import kept_summary, run_hints

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.api import Server
    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.run.timeline import Event

VERSION = 1
# A section of a report may hold all that an application has printed.
_LONGEST = 40_000
_LONGEST_MESSAGE = 300
_MOST_TABLES = 100
_OF_TESTS = {"set up", "clean up"}
# Steps that take no time, and are there for hints.
_FACTS = {"connect", "read only"}
# Of the outcomes of a test's phases, the last one here is the test's.
_OUTCOMES = ("unfinished", "passed", "skipped", "xfailed", "xpassed", "error", "failed")


class Document:
    """What is known of a run so far.

    Args:
        berth: The run.
    """

    def __init__(self, berth: PluginState) -> None:
        self._berth = berth
        self._tests: dict[tuple[str, str], dict[str, Any]] = {}
        self._failures: list[dict[str, Any]] = []

    def add(self, report: pytest.TestReport) -> None:
        """Take in the report of a test's set-up, call or teardown, or of a subtest."""
        test = self._test(report)
        is_subtest = hasattr(report, "context")
        if not is_subtest:
            self._add_phase(test, report)
        elif report.failed:
            test["outcome"] = "failed"
        if report.failed:
            self._add_failure(report, test["worker"], "subtest" if is_subtest else _phase(report))

    def add_uncollected(self, report: pytest.CollectReport) -> None:
        """Take in what could not be collected: it counts as an error."""
        test = _test(report.nodeid, "main")
        test["outcome"] = "error"
        self._tests[report.nodeid, "collection"] = test
        self._add_failure(report, "main", "collection")

    def whole(self, session: pytest.Session, exit_status: int) -> dict[str, Any]:
        """Return the document, of a run that has ended."""
        tests = list(self._tests.values())
        events = self._berth.run.timeline.events
        _add_isolation_time(tests, events)
        counts = {each: sum(test["outcome"] == each for test in tests) for each in _OUTCOMES}
        return {
            "schema": "pytest-berth run",
            "version": VERSION,
            "run": self._run(session, exit_status),
            "outcomes": {each: count for each, count in counts.items() if count},
            "servers": [_server(server) for server in self._berth.served],
            "timeline": [_event(event) for event in events if event.what not in _OF_TESTS | _FACTS],
            "tests": tests,
            "failures": self._failures,
            "hints": self._hints(session) if self._berth.settings[HINTS] else [],
            "kept": kept_summary.lines(self._berth) if self._berth.settings[KEEP_FAILED] else [],
            "tables": _tables(events),
        }

    def _hints(self, session: pytest.Session) -> list[str]:
        if not self._berth.served:
            return list(self._berth.hints)
        bad = {"error", "failed"}
        failed = any(test["outcome"] in bad for test in self._tests.values())
        return run_hints.all_of(self._berth, session.config, failed=failed)

    def _run(self, session: pytest.Session, exit_status: int) -> dict[str, Any]:
        stopped = session.shouldfail or session.shouldstop
        if not stopped and exit_status == pytest.ExitCode.INTERRUPTED:
            stopped = "interrupted"
        return {
            "id": self._berth.run.id,
            "start": datetime.fromtimestamp(self._berth.run.began, timezone.utc).isoformat(
                "T", "seconds"
            ),
            "duration": round(self._berth.run.timeline.now(), 3),
            "exit_status": exit_status,
            "stopped": stopped if isinstance(stopped, str) else "",
            "workers": sorted({test["worker"] for test in self._tests.values()}),
            "python": platform.python_version(),
            "platform": f"{platform.system()} {platform.machine()}",
            "pytest": pytest.__version__,
            "berth": version("pytest-berth"),
        }

    def _test(self, report: pytest.TestReport) -> dict[str, Any]:
        worker = _worker(report)
        key = report.nodeid, worker
        if key not in self._tests:
            self._tests[key] = _test(report.nodeid, worker)
        return self._tests[key]

    def _add_phase(self, test: dict[str, Any], report: pytest.TestReport) -> None:
        if report.when == "setup":
            test["start"] = round(report.start - self._berth.run.began, 4)
            test["phases"] = {}
        test["phases"][_phase(report)] = {
            "outcome": report.outcome,
            "duration": round(report.duration, 5),
        }
        test["duration"] = round(sum(each["duration"] for each in test["phases"].values()), 5)
        test["isolation"] = getattr(report, "berth_isolation", test["isolation"])
        if report.outcome == "rerun":  # type: ignore[comparison-overlap]  # pytest-rerunfailures
            test["reruns"] += 1
            test["outcome"] = "unfinished"
        else:
            test["outcome"] = max(test["outcome"], _outcome(report), key=_OUTCOMES.index)

    def _add_failure(
        self, report: pytest.TestReport | pytest.CollectReport, worker: str, phase: str
    ) -> None:
        self._failures.append(
            {
                "nodeid": report.nodeid,
                "title": report.head_line or report.nodeid,
                "phase": phase,
                "worker": worker,
                "message": _message(report),
                "at": self._place(report),
                "longrepr": bounded(_text(report)),
                "sections": [
                    {"title": title, "text": bounded(text)} for title, text in report.sections
                ],
                "statements": getattr(report, "berth_statements", []),
            }
        )

    def _place(self, report: pytest.TestReport | pytest.CollectReport) -> str:
        """Return the last line of the suite or the application where a failure came from."""
        crash = getattr(report.longrepr, "reprcrash", None)
        if crash is None:
            return ""
        traceback = getattr(report.longrepr, "reprtraceback", None)
        lines = [getattr(entry, "reprfileloc", None) for entry in _entries(traceback)]
        own = [line for line in lines if line and not is_library(str(line.path))]
        last = own[-1] if own else crash
        path = os.path.relpath(last.path, self._berth.settings.root)
        return f"{last.path if path.startswith(os.pardir) else path}:{last.lineno}"


def _entries(traceback: Any) -> Sequence[Any]:
    return getattr(traceback, "reprentries", ())


def _test(nodeid: str, worker: str) -> dict[str, Any]:
    return {
        "nodeid": nodeid,
        "outcome": "unfinished",
        "start": 0.0,
        "duration": 0.0,
        "phases": {},
        "isolation": {},
        "isolation_time": 0.0,
        "worker": worker,
        "reruns": 0,
    }


def _worker(report: pytest.TestReport) -> str:
    """Return the name of the process that a report is from, or of the worker that has crashed."""
    node: Any = getattr(report, "node", None)
    return getattr(report, "worker_id", None) or (node.gateway.id if node else "main")


def _phase(report: pytest.TestReport) -> str:
    # xdist does not know in which phase a worker has crashed.
    return report.when if report.when in {"setup", "call", "teardown"} else "crash"


def _text(report: pytest.TestReport | pytest.CollectReport) -> str:
    # Of a text, xdist adds its worker's name to what pytest makes of it.
    return report.longrepr if isinstance(report.longrepr, str) else report.longreprtext


def _outcome(report: pytest.TestReport) -> str:
    if report.failed:
        return "failed" if report.when not in {"setup", "teardown"} else "error"
    if hasattr(report, "wasxfail"):
        return "xfailed" if report.skipped else "xpassed"
    # Until its call has passed, a test has not.
    return "unfinished" if report.passed and report.when != "call" else report.outcome


def _message(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Return what a failure says in a line or two."""
    crash = getattr(report.longrepr, "reprcrash", None)
    told = getattr(crash, "message", None) or _text(report)
    return next((line for line in told.splitlines() if line.strip()), "")[:_LONGEST_MESSAGE]


def bounded(text: str) -> str:
    """Return a text, without its middle where it is very long."""
    if len(text) <= _LONGEST:
        return text
    left = len(text) - _LONGEST
    return f"{text[: _LONGEST // 2]}\n\n... {left} characters more ...\n\n{text[-_LONGEST // 2 :]}"


def _server(server: Server) -> dict[str, Any]:
    return {
        "service": server.service,
        "version": server.version,
        "source": server.source,
        "detail": server.detail,
        "reason": server.reason,
        "address": f"{server.host}:{server.port}",
        "started_in": round(server.started_in, 3),
        "own_of": server.slot,
        "restarts": server.restarts,
        "reattached": server.reattached,
        "from_snapshot": server.from_snapshot,
    }


def _event(event: Event) -> dict[str, Any]:
    return {
        "what": event.what,
        "service": event.service,
        "worker": event.worker,
        "start": round(event.start, 4),
        "duration": round(event.took, 4),
        "test": event.test,
        "detail": event.detail,
        "failed": event.failed,
    }


def _add_isolation_time(tests: Sequence[dict[str, Any]], events: Sequence[Event]) -> None:
    took: defaultdict[tuple[str, str], float] = defaultdict(float)
    for event in events:
        if event.what in _OF_TESTS:
            took[event.test, event.worker] += event.took
    for test in tests:
        test["isolation_time"] = round(took[test["nodeid"], test["worker"]], 5)


def _tables(events: Sequence[Event]) -> list[dict[str, Any]]:
    """Return what clean-ups have put back most often."""
    put_back = Counter(
        (e.service, name) for e in events if e.what == "clean up" for name in e.items
    )
    return [
        {"service": service, "name": name, "tests": count}
        for (service, name), count in put_back.most_common(_MOST_TABLES)
    ]
