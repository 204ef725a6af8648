"""What a page makes of reports: phases, repeats, subtests, and workers that crash."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pytest_berth.config import options
from pytest_berth.reporting.page.document import Document
from pytest_berth.run.run import MAIN, Run


def report(when: str, outcome: str = "passed", text: str = "", **further: Any) -> pytest.TestReport:
    """Return a report as pytest makes one."""
    location = ("test_it.py", 0, "test_it")
    given: Any = (outcome, text or None, when)
    return pytest.TestReport("test_it.py::test_it", location, {}, *given, duration=0.5, **further)


def told(*reports: pytest.TestReport, hints: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the document of a run that has made these reports, and had these hints."""
    settings = options.defaults(Path.cwd(), options.OPTIONS)
    berth: Any = SimpleNamespace(run=Run("k3x9", MAIN), settings=settings, served=(), hints=hints)
    document = Document(berth)
    for each in reports:
        document.add(each)
    session: Any = SimpleNamespace(shouldfail=False, shouldstop=False)
    return document.whole(session, 1)


@pytest.mark.parametrize(
    ("reports", "outcome"),
    [
        ([report("setup"), report("call"), report("teardown")], "passed"),
        ([report("setup")], "unfinished"),
        ([report("setup", "skipped"), report("teardown")], "skipped"),
        ([report("setup", "failed", "no"), report("teardown")], "error"),
        ([report("setup"), report("call", "failed", "no"), report("teardown")], "failed"),
        ([report("setup"), report("call"), report("teardown", "failed", "no")], "error"),
        ([report("call", "failed", "no"), report("teardown", "failed", "no")], "failed"),
        ([report("call", "skipped", wasxfail="known")], "xfailed"),
        ([report("call", wasxfail="known")], "xpassed"),
        ([report("call", "failed", "no", context="of a subtest"), report("call")], "failed"),
    ],
)
def test_the_worst_phase_is_the_outcome(reports: list[pytest.TestReport], outcome: str) -> None:
    assert told(*reports)["tests"][0]["outcome"] == outcome
    assert told(*reports)["outcomes"] == {outcome: 1}


def test_a_repeated_test_counts_once_by_its_last_attempt() -> None:
    first = [report("setup"), report("call", "rerun", "flaky"), report("teardown")]
    again = [report("setup"), report("call"), report("teardown")]

    (test,) = told(*first, *again)["tests"]

    assert (test["outcome"], test["reruns"], test["duration"]) == ("passed", 1, 1.5)


def test_a_crash_is_its_workers() -> None:
    node = SimpleNamespace(gateway=SimpleNamespace(id="gw1"))
    crash = report("???", "failed", "worker 'gw1' crashed", node=node)

    document = told(report("setup", worker_id="gw1"), crash)

    assert [(each["outcome"], each["worker"]) for each in document["tests"]] == [("failed", "gw1")]
    (failure,) = document["failures"]
    assert failure["phase"] == "crash"
    assert failure["message"] == failure["longrepr"] == "worker 'gw1' crashed"


def test_a_very_long_text_loses_its_middle() -> None:
    (failure,) = told(report("call", "failed", f"begin{'x' * 100_000}end"))["failures"]

    assert failure["longrepr"].startswith("beginx")
    assert "... 60008 characters more ..." in failure["longrepr"]
    assert failure["longrepr"].endswith("xend")
    assert len(failure["message"]) == 300


def test_hints_of_tests_are_told() -> None:
    assert told(hints=("a line of it",))["hints"] == ["a line of it"]
