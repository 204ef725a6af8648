"""SQLAlchemy's private names, and what its versions name differently."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from functools import cache
from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from sqlalchemy import Connection, Engine
    from sqlalchemy.orm import Session

PACKAGE = f"{os.sep}sqlalchemy{os.sep}"
# The module that loads relationships as their attributes are read, and its function that does.
LOADING = os.path.join("sqlalchemy", "orm", "strategies.py")  # noqa: PTH118
_LOADS = "_emit_lazyload"
# The module that sets engines up, and its function that asks the server at the first connection.
SETTING_UP = os.path.join("sqlalchemy", "engine", "create.py")  # noqa: PTH118
CONNECTING = "first_connect"


def connections(session: Session) -> set[Connection]:
    """Return the connections that a session's transaction has."""
    transaction = session.get_transaction()
    found = transaction._connections.values() if transaction else ()
    return {connection for connection, *_ in found}


def unconnected(engine: Engine) -> Connection:
    """Return a connection that opens at its first statement.

    SQLAlchemy connects anew where a connection has been lost: this one has never been there.
    """
    from sqlalchemy import Connection

    never: Any = object()
    connection = Connection(engine, connection=never)
    connection._dbapi_connection = None
    return connection


def pool_entries() -> type:
    """Return the class of what a pool keeps for each of its connections."""
    found: type = import_module("sqlalchemy.pool.base")._ConnectionRecord
    return found


def condition(statement: Any) -> Any:
    """Return the condition of a DDL statement; in version 1.4 the statement itself has it."""
    return getattr(statement, "_ddl_if", statement)


@cache
def version() -> tuple[int, ...]:
    """Return the numbers of the installed version; nothing where there is none."""
    try:
        found = metadata.version("sqlalchemy")
    except metadata.PackageNotFoundError:
        return ()
    return tuple(map(int, re.findall(r"\d+", found)[:3]))


@contextmanager
def committing(connection: Connection) -> Iterator[None]:
    """Commit at the end what a new connection has done meanwhile."""
    if hasattr(connection, "commit"):
        yield
        connection.commit()
    else:  # version 1.4
        with connection.begin():
            yield


def loaded_relationship(frame: FrameType) -> str:
    """Return what a frame of `LOADING` loads: ``"Order.lines"``; empty where it loads nothing."""
    if frame.f_code.co_name != _LOADS:
        return ""
    return str(frame.f_locals["self"].parent_property)
