"""What a probe does, told to the recorder, with the line of the test that has asked for it.

An async probe works in threads, where that line cannot be seen: it is noted in their context.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any

from pytest_berth.isolation import application_lines, kafka_hooks, recorder
from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytest

    from pytest_berth.services.kafka.record import Record

_line: ContextVar[application_lines.Line | None] = ContextVar("line", default=None)


def note_line(context: Context) -> None:
    """Let what runs in a context have the line of the application that calls now."""
    context.run(_line.set, application_lines.beyond_ours(sys._getframe(1)))


@contextmanager
def published(config: pytest.Config, record: Record) -> Iterator[None]:
    """Tell of a record that is published meanwhile."""
    told = kafka_hooks.record(record.value, record.key, record.headers)
    with _told(config, f"publish to {record.topic}", told):
        yield


@contextmanager
def collected(config: pytest.Config, topic: str, found: Sequence[Record]) -> Iterator[None]:
    """Tell of records that are found in a topic meanwhile."""
    with _told(config, f"read {topic}", None, found):
        yield


@contextmanager
def _told(
    config: pytest.Config, text: str, parameters: Any, found: Sequence[Record] | None = None
) -> Iterator[None]:
    kept = recorder.of(config)
    if kept is None:
        yield
        return
    line = _line.get() or application_lines.beyond_ours(sys._getframe(2))
    started = now()

    def tell(error: BaseException | None = None) -> None:
        count = "" if found is None else f": {len(found)} record{'s' * (len(found) != 1)}"
        kept.add("kafka", f"{text}{count}", line, started, parameters=parameters, error=error)

    try:
        yield
    except BaseException as error:
        tell(error)
        raise
    tell()
