"""Leaves on a server only what later runs can use, before its data is kept as a snapshot.

Databases of tests go with their files. What tests can leave beside databases (roles, settings,
tablespaces) is not taken back: data with that is not kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.services.postgres import reset_for_reuse
from pytest_berth.services.postgres.databases import (
    kept_databases,
    run_databases,
    stored_templates,
)
from pytest_berth.services.postgres.server import parked_connection

if TYPE_CHECKING:
    import psycopg

    from pytest_berth.api import Server

_SHARED = ("pg_authid", "pg_auth_members", "pg_database", "pg_db_role_setting", "pg_shdescription")


def prepare(server: Server, run_id: str) -> bool:
    """Drop the run's databases; tell whether what is left is new to the server, and only ours."""
    with run_databases.administration(server) as connection:
        found = stored_templates.rename(connection, run_id)
        if server.from_snapshot and not (found or server.reuse_record):
            return False
        stored_templates.drop_oldest(connection)
        kept_databases.drop_all(connection)
    run_databases.drop_all(server, run_id)
    with run_databases.administration(server) as connection:
        if reset_for_reuse.state_digest(server):
            return False
        _forget(connection)
    return True


def set_password(server: Server, password: str) -> None:
    """Give the administrator another password, sent as what PostgreSQL keeps of it."""
    # Of a server that starts; one that is to stop may wait for the end of all connections.
    stays = parked_connection.is_there(server)
    with run_databases.administration(server, stays=stays) as connection:
        run_databases.set_password(connection, server.credentials.user, password)


def _forget(connection: psycopg.Connection[Any]) -> None:
    """Let no file hold what tests have written: rows that are dead, and the log of writes."""
    for catalog in _SHARED:
        connection.execute(f"VACUUM FULL pg_catalog.{catalog}".encode())
    connection.execute("SELECT pg_catalog.pg_switch_wal()")
    # Segments of the log that are not needed any more are removed: see `launch.FIT_FOR_TESTS`.
    connection.execute("CHECKPOINT")
