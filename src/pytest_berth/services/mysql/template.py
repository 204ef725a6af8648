"""Builds the template database: schema and seeds are applied once per run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pytest_berth.collection.requirements import overridden_in
from pytest_berth.config import exports
from pytest_berth.run.once_per_run import once
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.schema import Target
from pytest_berth.schema.apply import apply
from pytest_berth.services.mysql import connections, run_databases, sequences, urls
from pytest_berth.services.mysql.options import SCHEMA, SEED
from pytest_berth.services.mysql.schema import parse
from pytest_berth.services.mysql.service import MYSQL

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

    from pytest_berth.api import Server
    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.schema import Step


def run(
    berth: PluginState,
    steps: Sequence[Step],
    server: Server,
    database: str,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Apply steps to a database.

    Args:
        berth: The run.
        steps: What is applied.
        server: Where the database is.
        database: Its name.
        environment: What programs inherit; this process's environment when left out.

    Raises:
        SchemaError: A step failed.
    """
    apply(berth, MYSQL.name, steps, _target(berth, server, database, environment or os.environ))


def build(
    berth: PluginState,
    server: Server,
    steps: Sequence[Step],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Build the template; the arguments are those of `run`.

    Raises:
        SchemaError: A step failed.
    """
    database = run_databases.name(berth.run.id, run_databases.TEMPLATE)
    with connections.connected(server) as connection:
        run_databases.create(connection, database)
    run(berth, steps, server, database, environment)
    with connections.connected(server) as connection:
        sequences.settle(connection, database)


def build_once(
    berth: PluginState,
    server: Server,
    steps: Sequence[Step],
    environment: Mapping[str, str] | None = None,
) -> None:
    """Build the template unless the run has it; the arguments are those of `run`.

    Raises:
        SchemaError: A step failed.
    """
    once(
        berth.run.directory,
        f"mysql.template.{server.key}.{server.restarts}",
        lambda: build(berth, server, steps, environment),
    )


def build_ahead(server: Server, item: pytest.Item) -> None:
    """Build the template, while other tests run, if the settings alone say what it holds.

    Functions wait for their test: those that run meanwhile may have replaced what is called.
    """
    if any(overridden_in(item, name) != MYSQL.fixture_module for name in MYSQL.needs):
        return
    berth = item.config.stash[PLUGIN_STATE]
    steps = parse(berth.settings, [berth.settings[SCHEMA], berth.settings[SEED]])
    if not any(step.calls_suite for step in steps):
        build_once(berth, server, steps, berth.prestart.environment)


def _target(
    berth: PluginState, server: Server, database: str, environment: Mapping[str, str]
) -> Target:
    return Target(
        url=urls.url(server, database),
        dsn=urls.url(server, database, ""),
        environment={
            **urls.variables(server, database),
            **exports.render(berth.exports, urls.values(server, database)),
        },
        root=berth.settings.root,
        secrets=(server.credentials.password,) if server.credentials.password else (),
        inherited=dict(environment),
        foreign=() if server.source == "external" else urls.FOREIGN,
    )
