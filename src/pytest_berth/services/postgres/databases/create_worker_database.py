"""Makes a worker's database: a clone of the template, or the one that the URL names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.run.once_per_run import once
from pytest_berth.services.postgres.databases import run_databases, template
from pytest_berth.services.postgres.options import ALLOW_RESET
from pytest_berth.services.postgres.server import role_rights

if TYPE_CHECKING:
    from pytest_berth.api import Server
    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.services.postgres.schema import Step
    from pytest_berth.services.postgres.server.role_rights import Rights


def make(
    berth: PluginState, server: Server, steps: tuple[Step, ...], name: str
) -> tuple[str, Rights, str]:
    """Make a worker's database, and what it is cloned from.

    Args:
        berth: The run.
        server: Where it is to be.
        steps: What the template is made by.
        name: Which of the application's databases; empty for the one that has no name.

    Returns:
        The database's name on the server, what the role may do there, and the server's
        checkpointer, empty where it does not matter.

    Raises:
        SchemaError: A step failed.
    """
    # Where changes of the server are looked for, that goes on with the connection.
    is_alone = berth.run.workers == 1
    with run_databases.administration(server, stays=is_alone) as connection:
        found = role_rights.find(connection)
        if server.source == "external":
            _tell_rights(berth, server, found, steps)
        if found.own_databases:
            made = template.build(berth, server, connection, steps, name)
            checkpointer = template.rebuild_if_crashed(berth, server, connection, steps, name)
            database = run_databases.of_worker(server, berth.run.id, berth.run.worker, name)
            if database == server.credentials.fixed:
                # A worker that has crashed had the same name for it.
                run_databases.drop_if_there(connection, berth.run.id, database, database)
            with berth.run.timeline.measured("clone", server.service, detail=database):
                run_databases.create(connection, server, berth.run.id, database, made)
            return database, found, checkpointer
    if found.may_reset(berth.settings[ALLOW_RESET]):
        template.apply(berth, server, found.database, steps)
    return found.database, found, ""


def _tell_rights(
    berth: PluginState, server: Server, found: Rights, steps: tuple[Step, ...]
) -> None:
    """Say, once per run, what the given role may do and where tests therefore work."""
    place = "databases of this run, dropped at its end"
    if not found.own_databases:
        allowed = found.may_reset(berth.settings[ALLOW_RESET])
        how = "may be reset (berth_pg_allow_reset)" if allowed else "rolled back, never reset"
        place = f"the database {found.database!r}, {how}"
        if steps and not allowed:
            place += "; schema and seeds are not applied to it"
    text = f"postgres: {server.credentials.user!r} is a {found}: tests work in {place}"
    once(berth.run.directory, "postgres.rights", lambda: berth.progress.note(text))
