"""Finds the server's error in what a test failed with, whichever driver and wrapper it came by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ABORTED = "25P02"
# psycopg and psycopg2 tell by ``diag``, asyncpg by attributes of its own.
_NAMES = {
    "message": "message_primary",
    "detail": "message_detail",
    "schema_name": "schema_name",
    "table_name": "table_name",
    "column_name": "column_name",
    "constraint_name": "constraint_name",
    "context": "context",
}
_MOST = 50


@dataclass(frozen=True)
class ServerError:
    """What the server has said of an error.

    Attributes:
        state: The SQLSTATE.
        statement: The statement, where SQLAlchemy tells it.
    """

    state: str
    message: str = ""
    detail: str = ""
    schema: str = ""
    table: str = ""
    column: str = ""
    constraint: str = ""
    context: str = ""
    statement: str = ""


def find(error: BaseException) -> ServerError | None:
    """Return the error of the server that an error comes from; the first one of a transaction."""
    chain = list(_chain(error))
    statement = next(filter(None, (getattr(each, "statement", "") for each in chain)), "")
    found = [told for told in (_told(each, str(statement or "")) for each in chain) if told]
    return next((each for each in found if each.state != ABORTED), next(iter(found), None))


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, those that it wraps, and those that it was raised from or meanwhile."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _MOST:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        inner = [getattr(each, "orig", None), each.__cause__, each.__context__]
        inner += [*getattr(each, "exceptions", ())]
        waiting += [found for found in inner if isinstance(found, BaseException)]


def _told(error: Any, statement: str) -> ServerError | None:
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None)
    if not isinstance(state, str):
        return None
    diag = getattr(error, "diag", None)

    def text(name: str) -> str:
        found = getattr(diag, _NAMES[name], None) if diag else getattr(error, name, None)
        return found if isinstance(found, str) else ""

    if diag is None and not text("message"):
        return None  # SQLAlchemy's wrapper of asyncpg's error, which comes next
    return ServerError(
        state,
        text("message"),
        text("detail"),
        text("schema_name"),
        text("table_name"),
        text("column_name"),
        text("constraint_name"),
        text("context"),
        statement,
    )
