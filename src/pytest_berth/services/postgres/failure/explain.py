"""Tells what the server knows of an error: the row in the way, the nearest name, who has the lock.

Which part answers is chosen by the SQLSTATE (PostgreSQL's manual, appendix A).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.debug_log import debug
from pytest_berth.isolation import recorded_lines, recorder
from pytest_berth.services.postgres.failure import constraints, locks, names, server_error
from pytest_berth.services.postgres.failure.asking import NoAnswerError
from pytest_berth.services.postgres.service import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import pytest

    from pytest_berth.services.postgres.databases.worker_database import IsolatedDatabase
    from pytest_berth.services.postgres.failure.server_error import ServerError

    Part = Callable[[IsolatedDatabase, ServerError], list[str]]

_UNKNOWN = (
    "an earlier statement of the same transaction failed, and the test went on: the first ERROR in"
    " the server's log tells which one"
)
_FAILED = "the transaction was aborted by an earlier statement, and the test went on:"
_REMEDY = (
    "roll back, or to a savepoint, where an error is expected: with session.begin_nested(): ..."
)


def lines(
    databases: Sequence[IsolatedDatabase], item: pytest.Item, error: BaseException
) -> list[str]:
    """Return lines on an error; none where the server has not raised it.

    Args:
        databases: The worker's: the first that knows anything answers.
        item: The test.
        error: What it failed with.
    """
    found = server_error.find(error)
    if found is None:
        return []
    if found.state == server_error.ABORTED:
        return [*(_failed_first(item) or [_UNKNOWN]), _REMEDY]
    part = _PARTS.get(found.state)
    if part is None:
        return []
    for database in databases:
        try:
            told = part(database, found)
        except NoAnswerError as problem:
            debug("the error %s cannot be explained: %s", found.state, problem)
            continue
        if told:
            return told
    return []


def _failed_first(item: pytest.Item) -> list[str]:
    """Return the statement that has aborted the transaction, where it was recorded."""
    found = recorder.of(item.config)
    records = found.records(POSTGRES.name) if found else []
    for last in reversed(records):
        if last.error:
            break
    else:
        return []
    # The failed ones at the end of the same connection's: the first of them is the cause.
    cause = last
    for each in reversed([each for each in records if each.connection == last.connection]):
        if not each.error:
            break
        cause = each
    if cause is last:
        return []
    return [_FAILED, *recorded_lines.lines([cause], item.config.rootpath)]


_PARTS: Mapping[str, Part] = {
    "23505": constraints.of_unique,
    "23P01": constraints.of_unique,
    "23503": constraints.of_foreign_key,
    "23502": constraints.of_not_null,
    "23514": constraints.of_check,
    "42P01": names.of_relation,
    "42703": names.of_column,
    "42883": names.of_function,
    "42704": names.of_type,
    "3F000": names.of_schema,
    "40P01": locks.of_deadlock,
    "55P03": locks.of_timeout,
    "57014": locks.of_timeout,
    "40001": locks.of_timeout,
}
