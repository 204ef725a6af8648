"""The end of what others have open in the database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pytest_berth.debug_log import ignoring
from pytest_berth.services.postgres.restore.transactions import Connection, rows

if TYPE_CHECKING:
    from pytest_berth.services.postgres.restore.open_transactions import OpenTransaction


def end(connection: Connection, opened: OpenTransaction) -> None:
    """End another's transaction: roll a prepared one back, end the backend of any other."""
    if opened.gid:
        statement = sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(opened.gid))
        with ignoring(psycopg.errors.UndefinedObject, why=f"{opened.gid} has ended meanwhile"):
            connection.execute(statement)
    else:
        # By transaction, not by pid alone: the backend may have gone on to another one.
        rows(
            connection,
            "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_locks "
            "WHERE locktype = 'virtualxid' AND virtualtransaction = %s AND pid = %s",
            opened.transaction,
            opened.pid,
        )
