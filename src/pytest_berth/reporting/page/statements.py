"""What a failing test has sent to a service, for its page: the newest, and plans of the slowest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.debug_log import debug
from pytest_berth.isolation import lifecycle, recorded_lines, recorder
from pytest_berth.shown_values import is_secret, masked

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pytest_berth.api import Service
    from pytest_berth.isolation.recorder import Record

_MOST = 200
_LONGEST = 4000


def of_test(item: pytest.Item, service: Service, *, is_over: bool) -> list[dict[str, Any]]:
    """Return a row for each, newest last.

    Args:
        item: The test.
        service: What it reaches.
        is_over: Whether its teardown has begun: no plan is asked for then.
    """
    found = recorder.of(item.config)
    records = found.records(service.name)[-_MOST:] if found else []
    plans = {} if is_over else _plans(item, service, records)
    root = item.config.rootpath
    return [
        {
            "service": service.name,
            "text": recorded_lines.statement(record, _LONGEST),
            "parameters": recorded_lines.parameters(record),
            "phase": record.phase,
            "duration": round(record.seconds, 6),
            "rows": record.rows,
            "answer": recorded_lines.answer(record).removeprefix("-> "),
            "error": masked(record.error),
            "at": recorded_lines.place(record.line, root),
            "plan": plans.get(number, ""),
        }
        for number, record in enumerate(records)
    ]


def _plans(item: pytest.Item, service: Service, records: Sequence[Record]) -> dict[int, str]:
    """Return the plans of the slowest, by their number; a statement has one plan only.

    A plan shows values, so there is none of what names a secret.
    """
    namespace = lifecycle.in_use(item, service)
    slowest = sorted(range(len(records)), key=lambda number: -records[number].seconds)
    asked: dict[str, int] = {}
    for number in slowest:
        if not is_secret(records[number].text):
            asked.setdefault(records[number].text, number)
    if namespace is None or not asked:
        return {}
    try:
        told = namespace.plans(
            item, [(text, records[number].parameters) for text, number in asked.items()]
        )
        return {
            number: masked(plan) for number, plan in zip(asked.values(), told, strict=False) if plan
        }
    except Exception as error:  # the server may be lost, or whatever else the test has done to it
        debug("plans cannot be told: %s: %s", type(error).__name__, error)
        return {}
