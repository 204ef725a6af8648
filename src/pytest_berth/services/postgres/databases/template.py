"""Builds the template database: schema and seeds are applied once per run."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.collection.requirements import overridden_in
from pytest_berth.config import exports
from pytest_berth.config.options import KEEP
from pytest_berth.run.once_per_run import lock, once
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.schema.apply import apply as apply_steps
from pytest_berth.services.postgres import libpq_environment, schema, urls
from pytest_berth.services.postgres.databases import (
    external_templates,
    run_databases,
    template_name,
)
from pytest_berth.services.postgres.databases.stored_templates import (
    drop_all,
    is_intact,
    stored_template,
)
from pytest_berth.services.postgres.options import (
    ALEMBIC_DRIFT,
    FINGERPRINT,
    LOCK_TIMEOUT,
    SCHEMA,
    SEED,
)
from pytest_berth.services.postgres.server import (
    advisory_locks,
    backend_crash,
    connections,
    role_rights,
)
from pytest_berth.services.postgres.service import POSTGRES
from pytest_berth.sources import snapshots
from pytest_berth.waiting import now

if TYPE_CHECKING:
    import psycopg

    from pytest_berth.api import Server
    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.services.postgres.schema import Step, Target

FIXTURES = ("pg_schema", "pg_seed")
# Whether tests of this run have their databases put back.
RESTORES = pytest.StashKey[bool]()
# Seconds.
_NOTICEABLE = 1.0


def parse(berth: PluginState, *items: object) -> tuple[Step, ...]:
    """Return the steps that lines of the settings, or values of the fixtures, stand for.

    Raises:
        SettingsError: Something is none of the known forms.
    """
    drift = berth.settings[ALEMBIC_DRIFT] == "error"
    return schema.parse(items, berth.settings.root, check_drift=drift)


def target(berth: PluginState, server: Server, database: str, name: str = "") -> Target:
    """Return where steps are to be applied: a database, and the environment for commands."""
    values = urls.values(server, database, name)
    return schema.Target(
        url=urls.url(server, database),
        dsn=urls.dsn(server, database),
        environment={
            **urls.variables(server, database),
            **exports.render(berth.exports, values),
        },
        root=berth.settings.root,
        secrets=(server.credentials.password,) if server.credentials.password else (),
        foreign=() if server.source == "external" else libpq_environment.VARIABLES,
    )


def build(
    berth: PluginState,
    server: Server,
    connection: psycopg.Connection[Any],
    steps: tuple[Step, ...],
    name: str = "",
) -> str:
    """Build the template database, unless it is there, and return its name on the server.

    Args:
        berth: The run.
        server: Where it is to be.
        connection: To the administrator's database.
        steps: What makes it.
        name: Which of the application's databases; empty for the one that has no name.

    Raises:
        SchemaError: A step failed.
    """

    def work() -> None:
        made = berth.run.registry.prebuilt(work_name)
        # What has been imported meanwhile may have added tables.
        if not made.exists() or made.read_text() != _tables(steps):
            _make(berth, server, connection, steps, dict(os.environ), name)

    work_name = run_databases.part(_name(server), name)
    is_external = server.source == "external"
    if is_external:
        advisory_locks.keep(berth, server)
    once(berth.run.directory, work_name, work)
    if is_external:
        _rebuild_if_gone(berth, server, connection, steps, name)
    return _template(berth, name)


def rebuild_if_crashed(
    berth: PluginState,
    server: Server,
    connection: psycopg.Connection[Any],
    steps: tuple[Step, ...],
    name: str = "",
) -> str:
    """Build the template anew where a crash of the server has emptied its unlogged tables.

    Nothing is known of that on external servers.

    Args:
        berth: The run.
        server: Where it is.
        connection: To the administrator's database.
        steps: What makes it.
        name: Which of the application's databases.

    Returns:
        The server's checkpointer, which a crash replaces; empty for external ones.

    Raises:
        SchemaError: A step failed.
    """
    if server.source == "external":
        return ""
    made = _template(berth, name)
    if not is_intact(connection, made):
        with lock(berth.run.directory, run_databases.part(_name(server), name)):
            if not is_intact(connection, made):
                drop_all(connection)
                _make(berth, server, connection, steps, dict(os.environ), name)
    return backend_crash.checkpointer(connection)


def build_ahead(server: Server, item: pytest.Item) -> None:
    """Build the template if the settings alone say what it holds.

    What fails here is tried again by the test that needs the database. Functions wait for it, too:
    tests that run meanwhile may have replaced what they call.
    """
    berth = item.config.stash[PLUGIN_STATE]
    if any(overridden_in(item, name) != POSTGRES.fixture_module for name in FIXTURES):
        return
    steps = parse(berth, berth.settings[SCHEMA], berth.settings[SEED])
    if any(step.calls_suite for step in steps):
        return
    with run_databases.administration(server, stays=True) as connection:
        if role_rights.find(connection).own_databases:
            _make_ahead(berth, server, connection, steps)


def _make_ahead(
    berth: PluginState,
    server: Server,
    connection: psycopg.Connection[Any],
    steps: tuple[Step, ...],
) -> None:
    registry, name = berth.run.registry, _name(server)
    made = registry.prebuilt(name)
    with lock(registry.directory, name):
        if not made.exists() and not registry.done(name).exists():
            made.touch()  # stays empty where it fails
            _make(berth, server, connection, steps, berth.prestart.environment)
            made.write_text(_tables(steps))


def apply(berth: PluginState, server: Server, database: str, steps: tuple[Step, ...]) -> None:
    """Apply the steps to a database that the settings allow to be reset, once per run.

    Raises:
        SchemaError: A step failed.
    """
    once(berth.run.directory, _name(server), lambda: run(berth, steps, server, database))


def run(berth: PluginState, steps: tuple[Step, ...], server: Server, database: str) -> None:
    """Apply steps to a database.

    Raises:
        SchemaError: A step failed.
    """
    apply_steps(berth, POSTGRES.name, steps, target(berth, server, database))


def _make(
    berth: PluginState,
    server: Server,
    connection: psycopg.Connection[Any],
    steps: tuple[Step, ...],
    environment: dict[str, str],
    name: str = "",
) -> None:
    began = berth.run.timeline.now()
    made = _template(berth, name)
    fixed_name = "" if name else server.credentials.fixed
    for left in filter(None, (made, fixed_name)):
        run_databases.drop_if_there(connection, berth.run.id, left, fixed_name)
    known = stored_template(berth, server, steps, connection)
    if server.source == "external":
        common = _common(berth, server, steps, environment, name)
    else:
        common = known.find()
    if common and server.reuse_record:
        # Nobody else uses the server now, so that there is nothing to copy.
        working = known.rename_for_run(made)
    else:
        # An application that cannot be told a name migrates the database that has it.
        working = made if common else fixed_name or made
        source = common or run_databases.EMPTY
        run_databases.create(connection, server, berth.run.id, working, source)
    if server.source == "external":
        external_templates.mark_run(berth, server, connection, made)
    keeps = bool(common) and server.reuse_record != ""
    if not common:
        _fill(berth, server, steps, environment, working, name, lasts=known.name is not None)
        # Modules that were imported meanwhile may have added tables.
        keeps = stored_template(berth, server, steps, connection) == known
    if server.source != "external":
        known.mark(working, keeps=keeps)
    if working != made:
        run_databases.rename(connection, working, made)
    run_databases.seal(connection, made)
    made_by = f"schema and seeds, {len(steps)} step{'s' * (len(steps) != 1)}"
    detail = "an earlier run's, or another's" if common else made_by
    berth.run.timeline.add("template", server.service, began, detail=detail)


def _common(
    berth: PluginState,
    server: Server,
    steps: tuple[Step, ...],
    environment: dict[str, str],
    name: str,
) -> str | None:
    """Return the template that this run shares with others; None where it builds its own."""
    return external_templates.obtain(
        berth,
        server,
        steps,
        lambda made: _fill(berth, server, steps, environment, made, name, lasts=True),
    )


def _fill(
    berth: PluginState,
    server: Server,
    steps: tuple[Step, ...],
    environment: dict[str, str],
    database: str,
    name: str,
    *,
    lasts: bool,
) -> None:
    if steps:
        place = target(berth, server, database, name)
        began = now()
        place = dataclasses.replace(place, inherited=environment)
        apply_steps(berth, POSTGRES.name, steps, place)
        _hint_fingerprint(berth, server, steps, now() - began)
    # What an empty template holds is soon found out, where a later run needs to know.
    if berth.stash.get(RESTORES, False) or (steps and lasts):
        _store_baseline(berth, server, database)


def _hint_fingerprint(
    berth: PluginState, server: Server, steps: tuple[Step, ...], took: float
) -> None:
    """Say in the summary that a later run need not do it again, where it could be spared."""
    may_keep = snapshots.wanted(berth.settings, POSTGRES) or berth.settings[KEEP]
    if took > _NOTICEABLE and may_keep and template_name.of(berth, server, steps) is None:
        berth.hint(
            f"postgres: schema and seeds took {took:.1f} s, and will in the next run: what"
            " functions and commands depend on is not known. Later runs start from the database"
            f" that is there where {FINGERPRINT.name} names these files"
        )


def _rebuild_if_gone(
    berth: PluginState,
    server: Server,
    connection: psycopg.Connection[Any],
    steps: tuple[Step, ...],
    name: str,
) -> None:
    """Build the template anew where another run took this one for dead.

    So it may where every worker that had begun has crashed.
    """
    work_name = run_databases.part(_name(server), name)
    with lock(berth.run.directory, work_name):
        if not run_databases.exists(connection, _template(berth, name)):
            _make(berth, server, connection, steps, dict(os.environ), name)


def _template(berth: PluginState, name: str = "") -> str:
    return run_databases.database_name(
        berth.run.id, run_databases.part(run_databases.TEMPLATE, name)
    )


def _name(server: Server) -> str:
    """Return what the work of building the template is called: each server has its own."""
    return f"{server.key}.template-{server.restarts}"


def _tables(steps: tuple[Step, ...]) -> str:
    return json.dumps([sorted(step.tables) for step in steps])


def _store_baseline(berth: PluginState, server: Server, name: str) -> None:
    """Let every clone of the template know what it holds, which spares finding out."""
    from pytest_berth.services.postgres import restore

    with connections.connect(server, name) as connection:
        restore.store(connection, lock_timeout=berth.settings[LOCK_TIMEOUT])
