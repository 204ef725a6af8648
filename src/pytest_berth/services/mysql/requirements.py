"""What a test asks of MySQL, found out at collection."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pytest_berth.collection.requirements import fixtures_reached
from pytest_berth.config import markers
from pytest_berth.config.options import AUTOUSE
from pytest_berth.errors import SettingsError, nearest
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.schema.check import checked, require_one_definition
from pytest_berth.services.mysql import schema
from pytest_berth.services.mysql.options import (
    FACTORIES,
    ISOLATION,
    ISOLATIONS,
    SCHEMA,
    SEED,
    MySQLMarker,
    berth_mysql,
)
from pytest_berth.services.mysql.service import MYSQL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.schema import Step

COMMITTING_FIXTURES = (
    "mysql_url",
    "mysql_dsn",
    "mysql_engine",
    "mysql_async_engine",
    "mysql_async_connection",
    "mysql_async_session",
)


class Isolation(NamedTuple):
    """How one test gets its clean slate.

    Attributes:
        kind: ``rollback``, ``truncation`` or ``none``.
        reason: Why, in a few words.
    """

    kind: str
    reason: str

    def __str__(self) -> str:
        """Return kind and reason, for reports."""
        return f"{self.kind}: {self.reason}"


_ISOLATION = pytest.StashKey[Isolation]()


def isolation_of(item: pytest.Item) -> Isolation:
    """Return how a test gets its clean slate.

    Raises:
        SettingsError: Its marker has an argument or value that cannot be used.
    """
    if _ISOLATION not in item.stash:
        item.stash[_ISOLATION] = _choose(item)
    return item.stash[_ISOLATION]


def check(items: Sequence[pytest.Item]) -> None:
    """Check what tests ask for, and the lines of schema and seeds.

    Raises:
        SettingsError: A marker, a path, a module or an attribute is wrong.
    """
    for item in items:
        isolation_of(item)
        seeds_of(item)
    berth = items[0].config.stash[PLUGIN_STATE]
    for option in (SCHEMA, SEED):
        place = f"{option.name}, set by {berth.settings.origin(option)}"
        checked(berth.settings[option], partial(schema.parse, berth.settings), place)
    for fixture in MYSQL.needs:
        require_one_definition(items, fixture)
    if berth.settings[FACTORIES]:
        from pytest_berth.isolation.factories import binding

        binding.load(berth, MYSQL, FACTORIES)


def _choose(item: pytest.Item) -> Isolation:
    asked = _marker(item).isolation
    if asked is not None and asked not in ISOLATIONS:
        raise SettingsError(
            f"unknown isolation {asked!r}.",
            why=f"@pytest.mark.berth_mysql(isolation=...) at {item.nodeid}",
            remedy=nearest(str(asked), ISOLATIONS),
        )
    berth = item.config.stash[PLUGIN_STATE]
    if asked and asked != "auto":
        return Isolation(asked, "asked for by the marker")
    if berth.settings[ISOLATION] != "auto" and asked is None:
        return Isolation(berth.settings[ISOLATION], f"set by {berth.settings.origin(ISOLATION)}")
    other = other_ways_in(item)
    if other:
        return Isolation("truncation", other)
    return Isolation("rollback", "mysql_session and mysql_connection are the only way in")


def seeds_of(item: pytest.Item) -> Sequence[Step]:
    """Return what a test's marker has written before the test.

    Raises:
        SettingsError: A line is wrong.
    """
    parse = partial(schema.parse, item.config.stash[PLUGIN_STATE].settings)
    place = f"@pytest.mark.berth_mysql(seed=...) at {item.nodeid}"
    return checked(_marker(item).seed, parse, place)


def _marker(item: pytest.Item) -> MySQLMarker:
    return berth_mysql(**markers.read(item, berth_mysql))


def other_ways_in(item: pytest.Item) -> str:
    """Tell by what else than the rolled-back connection a test reaches the database; or nothing."""
    if _marker(item).seed:
        return "its marker's seed is committed"
    fixtures = fixtures_reached(item, MYSQL)
    committing = [name for name in COMMITTING_FIXTURES if name in fixtures]
    if committing:
        return f"{committing[0]} is another way in"
    if item.config.stash[PLUGIN_STATE].exports_any(MYSQL):
        return "berth_export is another way in"
    if MYSQL.isolation in fixtures:
        return f"{AUTOUSE.name} says that there are other ways in"
    return ""
