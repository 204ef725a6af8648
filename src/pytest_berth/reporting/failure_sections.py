"""The sections of a failing test's report that tell of one service, while its state is there.

What the server knows of the error, what the test did, what it changed, what it left behind, and how
to look for oneself; each is bounded in lines, and left out where there is nothing to tell.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_berth.config.options import REPORT_LINES
from pytest_berth.debug_log import debug, ignoring
from pytest_berth.errors import causes
from pytest_berth.isolation import lifecycle, recorded_lines, recorder
from pytest_berth.reporting.redaction import Redaction
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.shown_values import MASK, is_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pytest

    from pytest_berth.api import Namespace, Service

KNOWN = "what the server knows of the error"
DID = "what the test did"
CHANGED = "what the test changed"
LEFT = "what the test left behind"
LOOK = "look yourself"


def of_test(
    item: pytest.Item, service: Service, error: BaseException | None, *, is_over: bool = False
) -> list[tuple[str, str]]:
    """Return titles and texts, those first that tell most.

    Args:
        item: The test.
        service: What it reaches.
        error: What it failed with.
        is_over: Whether its teardown has begun: its state may be gone by then.
    """
    most = item.config.stash[PLUGIN_STATE].settings[REPORT_LINES]
    if not most:
        return []
    asked: dict[str, Callable[[], Sequence[str]]] = {DID: lambda: _done(item, service, most)}
    namespace = lifecycle.in_use(item, service)
    if namespace is not None and not is_over:
        if error is not None:
            asked = {KNOWN: lambda: namespace.explain(item, error), **asked}
        asked[DID] = lambda: _done(item, service, most, namespace)
        asked[CHANGED] = lambda: namespace.changes(item)
        asked[LEFT] = lambda: namespace.left_behind(item)
        asked[LOOK] = lambda: list(filter(None, [namespace.shell(item)]))
    told = {title: _answer(title, ask) for title, ask in asked.items()}
    return [
        (f"{service.name}: {title}", "\n".join(bounded(lines, most)))
        for title, lines in told.items()
        if lines
    ]


def mask(
    report: pytest.TestReport, item: pytest.Item, service: Service, error: BaseException
) -> None:
    """Take out of a whole report what the error's own message tells of secrets."""
    namespace = lifecycle.in_use(item, service)
    masked = _bound_secrets(error)
    try:
        if namespace is not None:
            masked |= namespace.masked(item, error)
    except Exception as problem:  # whatever it is, the test's own failure is what has to be read
        debug("an error cannot be masked: %s: %s", type(problem).__name__, problem)
    if masked:
        pairs = [(re.compile(re.escape(text)), shown) for text, shown in masked.items()]
        redaction = Redaction(tuple((each, shown.replace("\\", r"\\")) for each, shown in pairs))
        redaction.report(report)


def _bound_secrets(error: BaseException) -> dict[str, str]:
    """Return how the parameters of errors of SQLAlchemy's are written, and how without secrets."""
    found: dict[str, str] = {}
    for each in causes(error):
        statement, given = getattr(each, "statement", None), getattr(each, "params", None)
        if not isinstance(statement, str):
            continue
        for parameters in given if isinstance(given, list) else [given]:
            if isinstance(parameters, dict):
                secrets = [each for each in parameters.items() if is_secret(str(each[0]))]
                found |= {f"{name!r}: {value!r}": f"{name!r}: '{MASK}'" for name, value in secrets}
            elif isinstance(parameters, tuple) and parameters and is_secret(statement):
                found[repr(parameters)] = f"({MASK})"
    return found


def bounded(lines: Sequence[str], most: int) -> list[str]:
    """Return the first lines, and how many are left out."""
    if len(lines) <= most:
        return list(lines)
    left = len(lines) - most + 1
    return [*lines[: most - 1], f"... {left} more (berth_report_lines = {most})"]


def _done(
    item: pytest.Item, service: Service, most: int, namespace: Namespace | None = None
) -> list[str]:
    """Return what the test has sent, newest last: the last of it where it is much."""
    elsewhere: Sequence[str] = ()
    if namespace is not None:
        with ignoring(Exception, why="what other processes have sent cannot be told"):
            elsewhere = namespace.sent_elsewhere(item)[-(most // 3 + 1) :]
    found = recorder.of(item.config)
    records = found.records(service.name) if found else []
    of_test = recorded_lines.lines(records, item.config.rootpath, most - len(elsewhere))
    return [*(of_test if records else ()), *elsewhere]


def _answer(title: str, ask: Callable[[], Sequence[str]]) -> Sequence[str]:
    """Ask a namespace; the report goes on where its server is lost, or silent, or it fails."""
    try:
        return ask()
    except Exception as error:  # whatever it is, the test's own failure is what has to be read
        debug("%s: %s: %s", title, type(error).__name__, error)
        return [f"cannot be told: {type(error).__name__}: {error}".splitlines()[0]]
