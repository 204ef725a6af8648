"""How the server would carry out what a test has sent: EXPLAIN, which carries nothing out.

Asked on a connection that only reads, beside the test's own: what the test has created and not
committed is not known there. A statement is sent in a message of its own, which holds only one.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from psycopg.pq import ExecStatus

from pytest_berth.isolation.recorder import Cut, Opaque
from pytest_berth.services.postgres.failure import asking
from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from psycopg.pq.abc import PGconn

    from pytest_berth.services.postgres.databases.worker_database import IsolatedDatabase

_MOST = 10
_WITHIN = 2.0
_SETTINGS = (
    b"SET statement_timeout = 1000; SET lock_timeout = 300; SET default_transaction_read_only = on"
)
_PLANNED = re.compile(
    r"(?:\s|--[^\n]*\n|/\*.*?\*/|\()*(?:select|insert|update|delete|with|values|merge)\b",
    re.IGNORECASE | re.DOTALL,
)
# psycopg's and psycopg2's placeholders, which SQLAlchemy uses, too.
_PLACEHOLDER = re.compile(r"%(?:\((?P<name>[^)]+)\)s|(?P<next>[sbt])|(?P<percent>%))")


class _NoPlanError(Exception):
    """A statement cannot be asked about."""


def of(database: IsolatedDatabase, statements: Sequence[tuple[str, Any]]) -> list[str]:
    """Return the plans of the first statements that have one; empty texts for others.

    Raises:
        NoAnswerError: The server does not answer.
    """
    plans: list[str] = []
    until = now() + _WITHIN
    name = database.active.database
    with (
        asking.connected(database.server, name) as connection,
        asking.hung_up_late(connection.fileno()),
    ):
        connection.pgconn.exec_(_SETTINGS)
        for text, parameters in statements:
            if sum(map(bool, plans)) >= _MOST or now() > until:
                break
            plans.append(_plan(connection.pgconn, text, parameters))
    return plans


def _plan(connection: PGconn, text: str, parameters: Any) -> str:
    if not _PLANNED.match(text):
        return ""
    try:
        query, values = _numbered(text, parameters)
    except _NoPlanError:
        return ""
    result = connection.exec_params(f"EXPLAIN {query}".encode(), values)
    if result.status != ExecStatus.TUPLES_OK:
        return ""
    lines = (result.get_value(number, 0) or b"" for number in range(result.ntuples))
    return b"\n".join(lines).decode(errors="replace")


def _numbered(text: str, parameters: Any) -> tuple[str, list[bytes | None]]:
    """Return a statement with the server's placeholders, ``$1``, and the values as texts.

    Raises:
        _NoPlanError: A value is not known.
    """
    if parameters is None or "$1" in text:
        return text, [*map(_value, parameters or ())]
    values: list[bytes | None] = []
    in_order: Iterator[Any] = iter(() if isinstance(parameters, dict) else parameters)
    numbers: dict[str, int] = {}

    def numbered(found: re.Match[str]) -> str:
        if found["percent"]:
            return "%"
        name = found["name"]
        if name in numbers:
            return f"${numbers[name]}"
        try:
            values.append(_value(parameters[name] if name else next(in_order)))
        except (KeyError, TypeError, StopIteration):
            raise _NoPlanError from None
        if name:
            numbers[name] = len(values)
        return f"${len(values)}"

    return _PLACEHOLDER.sub(numbered, text), values


def _value(value: Any) -> bytes | None:
    """Return a value as the server reads it where it finds the type out by itself."""
    if isinstance(value, Cut):
        value = value.beginning
    if value is None:
        return None
    if isinstance(value, Opaque):
        raise _NoPlanError
    if isinstance(value, bytes):
        return rb"\x" + value.hex().encode()
    return str(value).encode()
