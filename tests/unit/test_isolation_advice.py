"""Where an isolation cannot serve, messages name the one that serves everything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from pytest_berth.config.options import Setting, defaults
from pytest_berth.errors import BerthError
from pytest_berth.services.postgres.asynchronous import loop_free_psycopg
from pytest_berth.services.postgres.databases.run_databases import _in_use
from pytest_berth.services.postgres.isolation import choice, rollback_connection
from pytest_berth.services.postgres.options import ASYNC_DRIVER, OPTIONS
from pytest_berth.services.postgres.restore import BaselineLost, LeftOpen, SchemaChanged
from pytest_berth.services.postgres.restore.transactions import refusals_named
from pytest_berth.services.postgres.schema.dialect import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Callable


def with_asyncpg() -> None:
    """Ask for what asyncpg cannot do."""
    settings = defaults(Path(), OPTIONS)
    values = {**settings.values, ASYNC_DRIVER.name: Setting("asyncpg", "pytest.ini")}
    asked = type(settings)(Path(), values)
    choice.choose({"pg_async_session"}, "rollback", asked, exported=False)


def reset_without_rights() -> None:
    """Be refused by the server."""
    with refusals_named():
        raise psycopg.errors.InsufficientPrivilege


def waiting_for_oneself() -> None:
    """Take turns with async code that waits."""
    turns = loop_free_psycopg.Turns()
    with turns, turns:
        pass


def raised(error: BerthError) -> Callable[[], None]:
    """Return what raises an error."""

    def work() -> None:
        raise error

    return work


@pytest.mark.parametrize(
    "work",
    [
        lambda: rollback_connection.refuse("autocommit"),
        lambda: POSTGRES.refuse_transaction("seed.sql", "it commits"),
        with_asyncpg,
        reset_without_rights,
        waiting_for_oneself,
        raised(SchemaChanged(["table t"])),
        raised(BaselineLost(ValueError("gone"))),
        raised(LeftOpen([], None)),
        raised(_in_use([])),
    ],
)
def test_a_message_names_the_isolation_that_serves_everything(work: Callable[[], None]) -> None:
    with pytest.raises(BerthError) as caught:
        work()
    assert '@pytest.mark.berth_pg(isolation="database")' in caught.value.remedy
