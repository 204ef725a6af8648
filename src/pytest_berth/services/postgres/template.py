"""The template database: schema and seeds, applied once per run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.lifecycle import exports
from pytest_berth.lifecycle.once import once
from pytest_berth.services.postgres import databases, schema, urls
from pytest_berth.services.postgres.options import ALEMBIC_DRIFT

if TYPE_CHECKING:
    from pytest_berth.lifecycle.state import Berth
    from pytest_berth.service import Server
    from pytest_berth.services.postgres.schema import Step, Target


def parse(berth: Berth, *items: object) -> tuple[Step, ...]:
    """Return the steps that lines of the settings, or values of the fixtures, stand for.

    Raises:
        SettingsError: Something is none of the known forms.
    """
    drift = berth.settings[ALEMBIC_DRIFT] == "error"
    return schema.parse(items, berth.settings.root, check_drift=drift)


def target(berth: Berth, server: Server, database: str) -> Target:
    """Return where steps are to be applied: a database, and the environment for commands."""
    values = urls.values(server, database)
    return schema.Target(
        url=urls.url(server, database),
        dsn=urls.dsn(server, database),
        environment={
            **urls.variables(server, database),
            **exports.render(berth.exports, values),
        },
        root=berth.settings.root,
        secrets=(server.credentials.password,) if server.credentials.password else (),
    )


def build(berth: Berth, server: Server, steps: tuple[Step, ...]) -> None:
    """Build the run's template database, unless another worker has.

    Raises:
        SchemaError: A step failed.
    """

    def work() -> None:
        with databases.administration(server) as connection:
            name = databases.create(connection, berth.run.id, databases.TEMPLATE)
            _run(steps, target(berth, server, name))
            databases.seal(connection, name)

    once(berth.run.directory, "postgres.template", work)


def apply(berth: Berth, server: Server, database: str, steps: tuple[Step, ...]) -> None:
    """Apply the steps to a database that the settings allow to be reset, once per run.

    Raises:
        SchemaError: A step failed.
    """
    place = target(berth, server, database)
    once(berth.run.directory, "postgres.template", lambda: _run(steps, place))


def _run(steps: tuple[Step, ...], place: Target) -> None:
    for step in steps:
        step.run(place)
