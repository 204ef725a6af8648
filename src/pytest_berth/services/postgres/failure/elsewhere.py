"""Tells what other processes have sent last: the server knows it of each that is connected.

That costs a passing test nothing. What the server would tell of all statements, it would have to
note for each one of every client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.debug_log import ignoring
from pytest_berth.isolation import recorder
from pytest_berth.services.postgres.failure import asking
from pytest_berth.services.postgres.failure.asking import NoAnswerError
from pytest_berth.services.postgres.restore.open_transactions import redacted
from pytest_berth.services.postgres.server.connections import APPLICATION
from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pytest

    from pytest_berth.services.postgres.databases.worker_database import IsolatedDatabase
    from pytest_berth.services.postgres.failure.asking import Row

# A backend that works on none tells of the last one.
_LAST = """
SELECT a.pid::text, a.application_name, a.state,
    round(extract(epoch FROM
        CASE WHEN a.state = 'active' THEN clock_timestamp() ELSE a.state_change END - a.query_start
    )::numeric * 1000, 1)::text,
    a.query
FROM pg_catalog.pg_stat_activity a
WHERE a.datname = current_database() AND a.backend_type = 'client backend'
AND a.query <> '' AND a.application_name <> {application} AND a.pid <> ALL ({own}::int[])
AND a.query_start > clock_timestamp() - {seconds} * interval '1 second'
ORDER BY a.query_start
"""


def of(databases: Sequence[IsolatedDatabase], item: pytest.Item) -> list[str]:
    """Return a line for the last statement of each connection of others, the newest last.

    Args:
        databases: The worker's.
        item: The test; what was sent before it is left out.
    """
    found = recorder.of(item.config)
    seconds = now() - found.began if found else 0.0
    lines: list[str] = []
    for database in databases:
        with ignoring(NoAnswerError, why="what others have sent cannot be told"):
            lines += _sent(database, seconds)
    return lines


def _sent(database: IsolatedDatabase, seconds: float) -> Iterator[str]:
    name = database.active.database
    own = sorted(database.own_backends | database.application.backends(name))
    query = sql.SQL(_LAST).format(
        application=sql.Literal(APPLICATION),
        own=sql.Literal("{" + ",".join(map(str, own)) + "}"),
        seconds=sql.Literal(seconds),
    )
    with asking.beside(database.server, name) as ask:
        return map(_line, ask(query))


def _line(row: Row) -> str:
    pid, application, state, took, query = (each or "" for each in row)
    named = f" {application!r}" if application else ""
    state = "" if state in {"idle", "active"} else f", {state}"
    return f"   another process{named} (pid {pid}{state})  {took} ms  {redacted(query)}"
