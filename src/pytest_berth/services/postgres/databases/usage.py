"""Whether anybody but berth has worked in the databases of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.services.postgres.databases import run_databases
from pytest_berth.services.postgres.server import connections

if TYPE_CHECKING:
    from pytest_berth.api import Server

_COUNTED_SINCE = 140000
# What is asked for a hint waits for nothing.
_IN_TIME: dict[str, Any] = {"connect_timeout": 2, "options": "-c statement_timeout=2000"}
# The connection that restores a worker's database.
_BERTHS_OWN = 1
_SESSIONS = "SELECT coalesce(sum(sessions), 0) FROM pg_catalog.pg_stat_database WHERE datname = %s"


def was_used(server: Server, run_id: str) -> bool | None:
    """Tell whether anybody else has connected to a run's databases; None where nobody counts."""
    template = run_databases.database_name(run_id, run_databases.TEMPLATE)
    with connections.connect_at_once(server, server.credentials.database, **_IN_TIME) as connection:
        if connection.info.server_version < _COUNTED_SINCE:
            return None
        names = {*run_databases.of_run(connection, server, run_id), server.credentials.fixed}
        counts = [
            connection.execute(_SESSIONS, [name]).fetchone()
            for name in names
            if name and not name.startswith(template)
        ]
    return any(row is not None and row[0] > _BERTHS_OWN for row in counts)
