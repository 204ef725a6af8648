"""What a failing test has sent to a service, for its page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.isolation import recorded_lines, recorder
from pytest_berth.shown_values import masked

if TYPE_CHECKING:
    import pytest

    from pytest_berth.api import Service

_MOST = 200
_LONGEST = 4000


def of_test(item: pytest.Item, service: Service) -> list[dict[str, Any]]:
    """Return a row for each, newest last.

    Args:
        item: The test.
        service: What it reaches.
    """
    found = recorder.of(item.config)
    records = found.records(service.name)[-_MOST:] if found else []
    root = item.config.rootpath
    return [
        {
            "service": service.name,
            "text": recorded_lines.statement(record, _LONGEST),
            "parameters": recorded_lines.parameters(record),
            "phase": record.phase,
            "duration": round(record.seconds, 6),
            "rows": record.rows,
            "error": masked(record.error),
            "at": recorded_lines.place(record.line, root),
        }
        for record in records
    ]
