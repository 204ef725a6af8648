"""Opens a worker's database: a clone of the template, or the one that the URL names."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from pytest_berth.api import Namespace
from pytest_berth.collection.requirements import active_fixtures
from pytest_berth.run.lost_servers import on_living_server
from pytest_berth.run.once_per_run import once
from pytest_berth.run.plugin_state import BERTH
from pytest_berth.services.postgres import sqlalchemy_compat
from pytest_berth.services.postgres.databases import prebuilt_clone, run_databases, template
from pytest_berth.services.postgres.isolation.choice import Isolation
from pytest_berth.services.postgres.namespace import Workspace
from pytest_berth.services.postgres.options import ALLOW_RESET
from pytest_berth.services.postgres.requirements import may_commit, requirements_of
from pytest_berth.services.postgres.server import role_rights
from pytest_berth.services.postgres.server.connection_errors import errors
from pytest_berth.services.postgres.service import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    import pytest

    from pytest_berth.api import Server, Worker
    from pytest_berth.isolation.layers import Place
    from pytest_berth.run.plugin_state import Berth
    from pytest_berth.services.postgres.schema import Step
    from pytest_berth.services.postgres.server.role_rights import Rights

_AT_RUN_TIME = Isolation("truncation", "fixtures are asked for at run time")


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


class WorkerDatabase(Namespace):
    """The worker's database, as `Workspace` has it: each test with the isolation that it asks for.

    Attributes:
        workspace: The database, and berth's connections to it.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    @property
    def url(self) -> str:  # type: ignore[override]  # SQLAlchemy is looked for when it is asked for
        """SQLAlchemy URL of the database."""
        return self.workspace.url

    @property
    def follows_fixtures(self) -> bool:
        """Whether what fixtures of a wider scope write is put back: it is."""
        return True

    @contextmanager
    def isolate(self, item: pytest.Item | None) -> Iterator[None]:
        """Give a test a clean slate by its own isolation.

        One that may ask for Postgres only while it runs gets ``truncation``, where it is possible.
        """
        if item is not None:
            sqlalchemy_compat.require_for(active_fixtures(item))
            demand = requirements_of(item)
            with self.workspace.slate(demand.isolation, demand.seeds):
                yield
        elif self.workspace.is_ours:
            with self.workspace.slate(_AT_RUN_TIME, ()):
                yield
        else:
            yield

    def entering(self, place: Place, fixture: object) -> AbstractContextManager[None]:
        """Let a fixture of a wider scope write, where what it writes can be put back."""
        return self.workspace.entering(place, fixture)

    def leave(self, fixture: object, name: str) -> None:
        """Put back what a fixture of a wider scope wrote, as it has ended."""
        self.workspace.leave(fixture, name)

    def sweep(self) -> None:
        """Put back what has come after the last test's end."""
        self.workspace.sweep()

    def expect_changes(self) -> None:
        """Let what is written from now on stay, until the next test has ended."""
        self.workspace.expect_changes()

    def may_write(self, item: pytest.Item) -> bool:
        """Tell whether a test, or what it uses, has a way to commit."""
        return may_commit(item)

    def reopen(self, server: Server) -> None:
        """Make the database anew on the server that takes the place of a lost one."""
        place = self.workspace
        # What it still does in the background would be done on the new server.
        place.lending.close()
        place.move(_open(place.berth, server, place.steps, place.name))


@contextmanager
def opened(server: Server, worker: Worker) -> Iterator[WorkerDatabase]:
    """Open the worker's database: a clone of the template, or the one that the URL names.

    Raises:
        SchemaError: A step failed.
    """
    berth = worker.config.stash[BERTH]
    steps = template.parse(berth, *(worker.fixtures[name] for name in POSTGRES.needs))
    workspace = _open(berth, server, steps, "")
    yield WorkerDatabase(workspace)
    workspace.close()


def _open(berth: Berth, server: Server, steps: tuple[Step, ...], name: str) -> Workspace:
    # Another worker's test may have crashed the server, which then recovers.
    with run_databases.administration(server) as connection:
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
