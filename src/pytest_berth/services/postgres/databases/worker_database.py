"""Opens a worker's database: a clone of the template, or the one that the URL names."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_berth.run.crash_recovery import on_living_server, raise_if_lost
from pytest_berth.run.run_once import once
from pytest_berth.services.postgres.databases import prebuilt_clone, run_databases, template
from pytest_berth.services.postgres.namespace import Workspace
from pytest_berth.services.postgres.options import ALLOW_RESET
from pytest_berth.services.postgres.server import backend_crash, role_rights
from pytest_berth.services.postgres.server.connection_errors import errors
from pytest_berth.services.postgres.service import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_berth.api import Server
    from pytest_berth.isolation.layers import Place
    from pytest_berth.run.plugin_state import Berth
    from pytest_berth.services.postgres.isolation.choice import Isolation
    from pytest_berth.services.postgres.schema import Step
    from pytest_berth.services.postgres.server.role_rights import Rights


def open_workspace(berth: Berth, steps: tuple[Step, ...], name: str = "") -> Workspace:
    """Return the worker's database.

    Args:
        berth: The run.
        steps: What the template is made by.
        name: Which of the application's databases; empty for the one that has no name.

    Raises:
        SchemaError: A step failed.
    """
    return on_living_server(
        berth, POSTGRES, errors, lambda server: _open(berth, server, steps, name)
    )


def renew_if_lost(workspace: Workspace) -> None:
    """Make the database anew where another server has to take the place of a lost one."""
    if workspace.berth.manager.is_lost(workspace.server):
        # What it still does in the background would be done on the new server.
        workspace.lending.close()
        new = open_workspace(workspace.berth, workspace.steps, workspace.name)
        workspace.move(new)


@contextmanager
def slate(workspace: Workspace, isolation: Isolation, seeds: Sequence[Step]) -> Iterator[None]:
    """Give a test a clean slate; in a new database where the server was lost before.

    Raises:
        LostError: The server is lost.
    """
    with _renewed(workspace), workspace.slate(isolation, seeds):
        yield


@contextmanager
def entering(workspace: Workspace, place: Place, fixture: object) -> Iterator[None]:
    """Let a fixture of a wider scope write; in a new database where the server was lost before.

    Raises:
        LostError: The server is lost.
    """
    with _renewed(workspace), workspace.entering(place, fixture):
        yield


@contextmanager
def _renewed(workspace: Workspace) -> Iterator[None]:
    """Work on a server that was not lost before, and tell where it is lost meanwhile."""
    renew_if_lost(workspace)
    with raise_if_lost(workspace.berth, POSTGRES, workspace.server, errors):
        yield


def _open(berth: Berth, server: Server, steps: tuple[Step, ...], name: str) -> Workspace:
    # Another worker's test may have crashed the server, which then recovers.
    with backend_crash.administration(server) as connection:
        found = role_rights.find(connection)
        if server.source == "external":
            _tell_rights(berth, server, found, steps)
        if found.own_databases:
            made = template.build(berth, server, steps, name)
            life = template.renew_if_crashed(berth, server, connection, steps, name)
            database = run_databases.of_worker(server, berth.run.id, berth.run.worker, name)
            if database == server.credentials.fixed:
                # A worker that has crashed had the same name for it.
                run_databases.drop_if_there(connection, berth.run.id, database, database)
            if name or not prebuilt_clone.take(berth, server, connection, made, database):
                run_databases.create(connection, server, berth.run.id, database, made)
            return Workspace(berth, server, database, found, steps, name, life)
    if found.may_reset(berth.settings[ALLOW_RESET]):
        template.apply(berth, server, found.database, steps)
    return Workspace(berth, server, found.database, found, steps)


def _tell_rights(berth: Berth, server: Server, found: Rights, steps: tuple[Step, ...]) -> None:
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
