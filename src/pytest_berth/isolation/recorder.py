"""Keeps what a test has sent to its servers, for the report where it fails.

It costs each statement of a passing test, so what is kept is little: the text, small values of
parameters, and where it came from. What it looks like is made in `recorded_lines`.
"""

from __future__ import annotations

import os
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from pytest_berth.debug_log import debug
from pytest_berth.isolation.application_lines import caller
from pytest_berth.isolation.driver_hooks import Watch
from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from pytest_berth.isolation.application_lines import Line
    from pytest_berth.isolation.driver_hooks import Hooks

# Of fewer statements none is one of too many.
MANY = 10
SETUP, CALL, TEARDOWN = "setup", "call", "teardown"
_MOST_RECORDS = 1000
_LONGEST_TEXT = 4000
_LONGEST_VALUE = 80
_MOST_VALUES = 10
# Values of these are small, and nothing can change them, or learns that they are kept.
_SMALL = frozenset({bool, int, float, type(None)})
_SHOWN = {("datetime", name) for name in ("datetime", "date", "time", "timedelta")}
_SHOWN |= {("uuid", "UUID"), ("decimal", "Decimal")}


class Record(NamedTuple):
    """What was sent to a server.

    Attributes:
        service: The name of its service.
        connection: What it was sent on: equal for two that were sent on one connection.
        text: The statement or command; a very long one is cut.
        parameters: Its parameters by name, or in order, as far as they are small: others are cut,
            or their types stand for them. A tuple for the words behind a command's name; None
            where there are none.
        seconds: How long it took.
        rows: Rows that came back or were changed; None where that is not known.
        error: What it failed with; empty where it did not.
        line: The line of the application, or of the test.
        phase: ``setup``, ``call`` or ``teardown``.
        answer: What came back, as far as it is small; None for nothing, True where it does not
            matter.
    """

    service: str
    connection: int
    text: str
    parameters: Any
    seconds: float
    rows: int | None
    error: str
    line: Line
    phase: str
    answer: Any = True


class Cut(NamedTuple):
    """The beginning of a long text or of long bytes, and how long it is."""

    beginning: str | bytes
    size: int


class Opaque:
    """Stands for a value that is not kept: shown as the name of its type."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __repr__(self) -> str:
        return f"<{self.kind}>"


class Recorder:
    """A plugin that keeps what the running test has sent; the oldest go where it is much.

    Args:
        hooks: What is replaced in the drivers, so that they tell it.

    Attributes:
        phase: That of the running test.
        listeners: Are called with each record, as it is made.
        count: How many were made in the running test.
        began: When the test began, by `waiting.now`.
    """

    def __init__(self, hooks: Hooks) -> None:
        self.phase = _phase_now()
        self.listeners: list[Callable[[Record], None]] = []
        self.count = 0
        self.began = now()
        self._records: deque[Record] = deque(maxlen=_MOST_RECORDS)
        self._watch = Watch(self, hooks)

    def add(
        self,
        service: str,
        text: object,
        line: Line,
        started: float,
        *,
        connection: object = None,
        parameters: object = None,
        rows: object = None,
        error: BaseException | None = None,
    ) -> None:
        """Keep what was sent to a server; whatever is wrong with that is not the application's.

        Args:
            service: The name of its service.
            text: The statement or command, or an object of a driver that stands for it.
            line: Where it comes from, as `sender` returns it.
            started: When it was sent, by `waiting.now`.
            connection: What it was sent on; only which one it is, is kept.
            parameters: A mapping, or a sequence; of several sets, the first is kept.
            rows: Rows that came back or were changed, if that is a number.
            error: What it failed with.
        """
        try:
            record = Record(
                service,
                id(connection) if connection is not None else 0,
                _text(text),
                _kept(parameters) if parameters else None,
                now() - started,
                rows if type(rows) is int and rows >= 0 else None,
                _told(error) if error is not None else "",
                line,
                self.phase,
            )
            self._keep(record)
        except Exception as problem:  # whatever the application has made of its driver
            debug("a statement is not recorded: %s: %s", type(problem).__name__, problem)

    def add_command(
        self,
        service: str,
        command: tuple[Any, ...],
        line: Line,
        started: float,
        connection: object,
        answer: object = True,
        error: BaseException | None = None,
    ) -> None:
        """Keep a command that was sent, as `add` does; it is short, and may be one of very many.

        Args:
            service: The name of its service.
            command: Its name, and the words behind it.
            line: Where it comes from.
            started: When it was sent.
            connection: What it was sent on.
            answer: What came back; True where that tells nothing.
            error: What it failed with.
        """
        try:
            name = command[0]
            record = Record(
                service,
                id(connection),
                name if type(name) is str else _text(name),
                _words(command[1:]),
                now() - started,
                None,
                "" if error is None else _told(error),
                line,
                self.phase,
                True if answer is True else _answered(answer),
            )
            self._keep(record)
        except Exception as problem:
            debug("a command is not recorded: %s: %s", type(problem).__name__, problem)

    def _keep(self, record: Record) -> None:
        self._records.append(record)
        self.count += 1
        for listener in self.listeners:
            listener(record)

    def sender(self, frame: FrameType, *, past_alchemy: bool = True) -> Line | None:
        """Return the line that something is sent by; the arguments are those of `caller`.

        Returns:
            None where it is berth's own, or is told elsewhere, or something is wrong.
        """
        try:
            return caller(frame, past_alchemy=past_alchemy)
        except Exception as problem:
            debug("a statement's line is not known: %s: %s", type(problem).__name__, problem)
            return None

    def records(self, service: str, phase: str = "") -> list[Record]:
        """Return what is kept for a service, newest last, of one phase or all."""
        return [
            record
            for record in list(self._records)
            if record.service == service and phase in {"", record.phase}
        ]

    def forget(self) -> None:
        """Begin anew: what was sent so far was for no test."""
        self._records.clear()
        self.count = 0

    def watch(self) -> None:
        """Watch the drivers that are loaded by now."""
        self._watch.start()

    def stop(self) -> None:
        """Watch no more."""
        self._watch.stop()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self) -> None:
        """Begin with a test."""
        self.forget()
        self.began = now()
        self.phase = SETUP
        self.watch()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self) -> None:
        """Watch the drivers, too, that fixtures have imported."""
        self.phase = CALL
        self.watch()

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        """Tell what is sent from now on from what the test has sent."""
        self.phase = TEARDOWN


RECORDER = pytest.StashKey[Recorder]()


def of(config: pytest.Config) -> Recorder | None:
    """Return the recorder, None where nothing is recorded."""
    return config.stash.get(RECORDER, None)


def _phase_now() -> str:
    """Return the phase of the running test, where the recorder comes in the middle of it."""
    phase = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition("(")[2].rstrip(")")
    return phase if phase in {CALL, TEARDOWN} else SETUP


def _text(value: object) -> str:
    if isinstance(value, str):
        text = value
    elif isinstance(value, bytes):
        text = value[:_LONGEST_TEXT].decode(errors="replace")
    else:
        # psycopg's composed statements; quoting names right is not worth a connection.
        as_string = getattr(value, "as_string", None)
        text = str(as_string(None) if as_string else value)
    return text if len(text) <= _LONGEST_TEXT else f"{text[:_LONGEST_TEXT]}..."


def _kept(parameters: Any) -> Any:
    """Return parameters as they may be kept: a copy, without anything large or alive."""
    kind = type(parameters)
    if kind is dict:
        return {str(name): _small(value) for name, value in parameters.items()}
    if kind in {list, tuple}:
        first = parameters[0]
        if type(first) in {dict, tuple} and kind is list:  # of several executions
            return _kept(first) if first else None
        return [_small(value) for value in parameters[:_MOST_VALUES]]
    return _small(parameters)


def _words(given: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return words as they may be kept: as they are, in most cases, which takes no time."""
    if len(given) <= _MOST_VALUES:
        for word in given:
            kind = type(word)
            if kind is str or kind is bytes:
                if len(word) > _LONGEST_VALUE:
                    break
            elif kind not in _SMALL:
                break
        else:
            return given
    left = len(given) - _MOST_VALUES
    more = [Opaque(f"{left} more")] if left > 0 else []
    return (*map(_small, given[:_MOST_VALUES]), *more)


def _answered(answer: Any) -> Any:
    kind = type(answer)
    if kind in {list, tuple, dict, set}:
        return Opaque(f"{kind.__name__} of {len(answer)}") if answer else None
    return _small(answer)


def _small(value: Any) -> Any:
    kind = type(value)
    if kind in _SMALL:
        return value
    if kind is str or kind is bytes:
        size = len(value)
        return value if size <= _LONGEST_VALUE else Cut(value[:_LONGEST_VALUE], size)
    if (kind.__module__, kind.__name__) in _SHOWN:
        return value
    return Opaque(kind.__name__)


def _told(error: BaseException) -> str:
    first = str(error).strip().partition("\n")[0][:_LONGEST_TEXT]
    kind = type(error).__name__
    return f"{kind}: {first}" if first else kind
