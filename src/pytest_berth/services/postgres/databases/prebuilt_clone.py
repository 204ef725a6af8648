"""Clones a worker's database beside other tests, under a name that no application knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.services.postgres.databases import run_databases

if TYPE_CHECKING:
    import psycopg

    from pytest_berth.api import Server
    from pytest_berth.run.plugin_state import PluginState

# What the clone is of, while there is one.
_ORIGIN = pytest.StashKey["object | None"]()
_OID = "SELECT oid FROM pg_catalog.pg_database WHERE datname = %s"


def make(
    berth: PluginState, server: Server, connection: psycopg.Connection[Any], template: str
) -> None:
    """Clone the template for the tests of this worker.

    Args:
        berth: The run.
        server: The server.
        connection: To the administrator's database.
        template: The template's name.
    """
    # Another worker may make the template anew: what is noted is what it was before.
    of = _origin(server, connection, template)
    run_databases.create(connection, server, berth.run.id, _name(berth), template)
    berth.stash[_ORIGIN] = of


def take(
    berth: PluginState,
    server: Server,
    connection: psycopg.Connection[Any],
    template: str,
    database: str,
) -> bool:
    """Give the clone its name, and tell whether there was one of the template as it is now."""
    of = berth.stash.get(_ORIGIN, None)
    berth.stash[_ORIGIN] = None
    if of != _origin(server, connection, template):
        return False
    run_databases.rename(connection, _name(berth), database)
    return True


def _origin(server: Server, connection: psycopg.Connection[Any], template: str) -> object:
    """Return what no other template has: two servers number their databases alike."""
    oid = connection.execute(_OID, [template]).fetchone()
    return server.restarts, server.credentials, oid


def _name(berth: PluginState) -> str:
    return run_databases.database_name(
        berth.run.id, run_databases.part("prebuilt", berth.run.worker)
    )
