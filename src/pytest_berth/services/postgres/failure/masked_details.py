"""Masks the values of columns such as passwords in the detail that the server adds to an error."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_berth.debug_log import debug
from pytest_berth.services.postgres.failure import constraints, server_error
from pytest_berth.services.postgres.failure.asking import NoAnswerError
from pytest_berth.services.postgres.failure.values import Column
from pytest_berth.shown_values import MASK

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_berth.services.postgres.databases.worker_database import IsolatedDatabase
    from pytest_berth.services.postgres.failure.server_error import ServerError
    from pytest_berth.services.postgres.failure.tables import Table

_ROW = frozenset({"23502", "23514"})
# ``Key (id, token)=(1, x) already exists.``
_NAMES = re.compile(r"\((.*?)\)=\(", re.DOTALL)
_VALUES = re.compile(r"=\(.*\)", re.DOTALL)
_FAILING = re.compile(r"\((?P<row>.*)\)", re.DOTALL)


def of(databases: Sequence[IsolatedDatabase], error: BaseException) -> Mapping[str, str]:
    """Return the detail as it is, and as it may be shown; nothing where there is no secret in it.

    Args:
        databases: The worker's.
        error: What a test failed with.
    """
    found = server_error.find(error)
    if found is None or not found.detail:
        return {}
    masked = _row(databases, found) if found.state in _ROW else _keys(found.detail)
    return {} if masked == found.detail else {found.detail: masked}


def _keys(detail: str) -> str:
    words = re.findall(r"\w+", " ".join(_NAMES.findall(detail)))
    is_secret = any(Column(word).is_secret for word in words)
    return _VALUES.sub(f"=({MASK})", detail) if is_secret else detail


def _row(databases: Sequence[IsolatedDatabase], error: ServerError) -> str:
    match = _FAILING.search(error.detail)
    table = next(filter(None, (_table(each, error) for each in databases)), None)
    if match is None or (table and not any(column.is_secret for column in table.columns)):
        return error.detail
    given = match["row"].split(", ")
    shown = MASK
    if table and len(given) == len(table.columns):
        pairs = zip(table.columns, given, strict=True)
        shown = ", ".join(MASK if column.is_secret else value for column, value in pairs)
    return f"{error.detail[: match.start('row')]}{shown}{error.detail[match.end('row') :]}"


def _table(database: IsolatedDatabase, error: ServerError) -> Table | None:
    try:
        with constraints.view(database) as seen:
            return constraints.table_of(seen.asking, error)
    except NoAnswerError as problem:
        debug("the columns of %s are not known: %s", error.table, problem)
        return None
