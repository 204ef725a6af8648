"""Reads what a test requires of Postgres: its isolation, seeds of its own, its most queries."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pytest_berth.collection.requirements import fixtures_reached, wider_users
from pytest_berth.config import markers
from pytest_berth.config.options import may_outlive_run
from pytest_berth.errors import SettingsError, nearest
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.schema.check import checked, require_one_definition
from pytest_berth.services.postgres import sqlalchemy_compat
from pytest_berth.services.postgres.advice import TRUNCATION
from pytest_berth.services.postgres.databases import template
from pytest_berth.services.postgres.isolation.choice import COMMITTING_FIXTURES, Isolation, choose
from pytest_berth.services.postgres.options import (
    DATABASE,
    DATABASES,
    FACTORIES,
    ISOLATIONS,
    SCHEMA,
    SEED,
    berth_pg,
)
from pytest_berth.services.postgres.server import fixed_names
from pytest_berth.services.postgres.service import POSTGRES
from pytest_berth.sources import snapshots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.services.postgres.schema import Step


class Requirements(NamedTuple):
    """What a test asks of Postgres.

    Attributes:
        isolation: How it gets a clean slate.
        seeds: What it finds in the database besides the run's seeds.
        max_queries: How many statements its call may send; None for any number.
    """

    isolation: Isolation
    seeds: tuple[Step, ...]
    max_queries: int | None = None


_REQUIREMENTS = pytest.StashKey[Requirements]()


def requirements_of(item: pytest.Item) -> Requirements:
    """Return what a test asks of Postgres.

    Raises:
        SettingsError: Its marker has an argument or value that cannot be used.
    """
    if _REQUIREMENTS not in item.stash:
        item.stash[_REQUIREMENTS] = _read(item, item.config.stash[PLUGIN_STATE])
    return item.stash[_REQUIREMENTS]


def describe_isolation(item: pytest.Item) -> str:
    """Describe the test's isolation, and why it was chosen."""
    return str(requirements_of(item).isolation)


def may_commit(item: pytest.Item) -> bool:
    """Tell whether a test, or what it uses, has a way to commit."""
    fixtures = fixtures_reached(item, POSTGRES)
    return bool(fixtures) and (
        requirements_of(item).isolation.kind == "truncation"
        or not fixtures.isdisjoint(COMMITTING_FIXTURES)
    )


def is_repaired(item: pytest.Item) -> bool:
    """Tell whether what a test has written is looked for, and put back."""
    kind = requirements_of(item).isolation.kind
    return kind in {"truncation", DATABASE} or "pg_database" in fixtures_reached(item, POSTGRES)


def need_alchemy(items: Sequence[pytest.Item]) -> bool:
    """Tell whether a fixture gives a test something of SQLAlchemy."""
    given = {*sqlalchemy_compat.FIXTURES, *sqlalchemy_compat.ASYNC_FIXTURES}
    return any(not given.isdisjoint(fixtures_reached(item, POSTGRES)) for item in items)


def needs_restore(items: Sequence[pytest.Item], *, starts: bool) -> bool:
    """Tell whether anything has to be put back, or a template to note what that would be.

    Args:
        items: The tests.
        starts: Whether the server is a new one; on one that was left there is a template, mostly.
    """
    settings = items[0].config.stash[PLUGIN_STATE].settings
    fills = starts and bool(settings[SCHEMA] or settings[SEED])
    lasts = (
        settings[POSTGRES.url] or may_outlive_run(settings) or snapshots.wanted(settings, POSTGRES)
    )
    return bool(fills and lasts) or any(map(is_repaired, items))


def check(items: Sequence[pytest.Item]) -> None:
    """Check what the selected tests ask for, and what the settings say for all of them.

    Raises:
        SettingsError: A marker, a path, a module or an attribute is wrong.
    """
    for item in items:
        isolation = requirements_of(item).isolation
        if isolation.kind == DATABASE:
            _require_narrow_scopes(item, isolation)
    if not items:
        return
    berth = items[0].config.stash[PLUGIN_STATE]
    fixed_names.check(berth)
    berth.stash[template.RESTORES] = any(map(is_repaired, items))
    parse = partial(template.parse, berth)
    for option in (SCHEMA, SEED):
        place = f"{option.name}, set by {berth.settings.origin(option)}"
        checked(berth.settings[option], parse, place)
    for name, lines in berth.settings[DATABASES]:
        place = f"{name} in {DATABASES.name}, set by {berth.settings.origin(DATABASES)}"
        checked(lines, parse, place)
    if berth.settings[FACTORIES]:
        from pytest_berth.isolation.factories import binding

        binding.load(berth, POSTGRES, FACTORIES)
    for fixture in template.FIXTURES:
        require_one_definition(items, fixture)


def _require_narrow_scopes(item: pytest.Item, isolation: Isolation) -> None:
    """A private database lasts for one test: what outlives the test cannot work with it."""
    for name, scope, asked in wider_users(item, {*POSTGRES.dedicated.fixtures, "pg_databases"}):
        raise SettingsError(
            f"the {scope}-scoped fixture {name!r} cannot use {asked} of a private database.",
            why=f"{item.nodeid} has the isolation {isolation}; its database lasts for one test",
            remedy="make the fixture function-scoped, or give the test another isolation:"
            f" {TRUNCATION}",
        )


def _read(item: pytest.Item, berth: PluginState) -> Requirements:
    marker = berth_pg(**markers.read(item, berth_pg))
    if marker.isolation is not None and marker.isolation not in ISOLATIONS:
        raise SettingsError(
            f"unknown isolation {marker.isolation!r}.",
            why=f"@pytest.mark.berth_pg(isolation=...) at {item.nodeid}",
            remedy=nearest(str(marker.isolation), ISOLATIONS),
        )
    most = marker.max_queries
    if most is not None and (type(most) is not int or most < 0):
        raise SettingsError(
            f"max_queries is {most!r}, which is no number of statements.",
            why=f"@pytest.mark.berth_pg(max_queries=...) at {item.nodeid}",
            remedy="use a whole number, such as 5; 0 for none",
        )
    isolation = choose(
        fixtures_reached(item, POSTGRES),
        marker.isolation,
        berth.settings,
        exported=berth.exports_any(POSTGRES),
    )
    return Requirements(isolation, _seeds(item, berth, marker.seed), most)


def _seeds(item: pytest.Item, berth: PluginState, seed: object) -> tuple[Step, ...]:
    place = f"@pytest.mark.berth_pg(seed=...) at {item.nodeid}"
    try:
        lines = _with_parameters(item, seed)
    except SettingsError as error:
        raise SettingsError(error.what, why=place, remedy=error.remedy) from None
    return tuple(checked(lines, partial(template.parse, berth), place))


def _with_parameters(item: pytest.Item, seed: object) -> object:
    """Return lines of a marker with the test's parameters in them: ``seed/{country}.csv``."""
    if isinstance(seed, (list, tuple)):
        return [_with_parameters(item, each) for each in seed]
    if not isinstance(seed, str):
        return seed
    given = getattr(getattr(item, "callspec", None), "params", {})

    def value(match: re.Match[str]) -> str:
        name = match[1]
        if name not in given:
            raise SettingsError(
                f"the seed {seed!r} names a parameter that the test has not.",
                remedy=nearest(name, given) if given else f'use parametrize("{name}", ...)',
            )
        return str(given[name])

    return re.sub(r"\{([^\W\d]\w*)\}", value, seed)
