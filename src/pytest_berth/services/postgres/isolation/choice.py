"""Chooses the isolation of a test, and says why."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytest_berth.config.options import AUTOUSE, DJANGO, EXPORT
from pytest_berth.errors import SettingsError
from pytest_berth.services.postgres.advice import COMMITS
from pytest_berth.services.postgres.options import ASYNC_DRIVER, DATABASE_NAME, ISOLATION

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_berth.config.options import Settings

COMMITTING_FIXTURES = ("pg_url", "pg_dsn", "pg_engine", "pg_async_engine", "pg_databases")
# Among a test's fixtures where berth_autouse isolates it.
ISOLATION_FIXTURE = "_pg_isolation"
# With asyncpg these commit, too.
ASYNC_COUNTERPARTS = ("pg_async_session", "pg_async_connection")


class Isolation(NamedTuple):
    """How one test gets its clean slate.

    Attributes:
        kind: ``rollback``, ``truncation``, ``database`` or ``none``.
        reason: Why, in a few words.
    """

    kind: str
    reason: str

    def __str__(self) -> str:
        """Return kind and reason, for reports."""
        return f"{self.kind}: {self.reason}"


def choose(
    fixtures: Collection[str], asked: str | None, settings: Settings, *, exported: bool
) -> Isolation:
    """Choose a test's isolation.

    Args:
        fixtures: The names of all fixtures of the test.
        asked: The marker's argument, None without one.
        settings: The run's settings.
        exported: Whether ``berth_export`` hands the database to the application.

    Raises:
        SettingsError: It cannot be had with asyncpg.
    """
    chosen = _choose(fixtures, asked, settings, exported=exported)
    if chosen.kind == "rollback" and _by_asyncpg(fixtures, settings):
        raise SettingsError(
            "isolation 'rollback' cannot be had with asyncpg.",
            why=f"{chosen}; {settings.given(ASYNC_DRIVER)}: its connections belong to one event"
            " loop, so none can stand around a test",
            remedy=f"berth_pg_async_driver = psycopg\nor {COMMITS}",
        )
    return chosen


def _choose(
    fixtures: Collection[str], asked: str | None, settings: Settings, *, exported: bool
) -> Isolation:
    if asked and asked != "auto":
        return Isolation(asked, "asked for by the marker")
    configured = settings[ISOLATION]
    if configured != "auto" and asked is None:
        return Isolation(configured, f"set by {settings.origin(ISOLATION)}")
    committing = [name for name in COMMITTING_FIXTURES if name in fixtures]
    if committing:
        return Isolation("truncation", f"{committing[0]} is another way in")
    if exported:
        by_django = settings[DJANGO] and not settings[EXPORT]
        name = DJANGO.name if by_django else EXPORT.name
        return Isolation("truncation", f"{name} is another way in")
    if settings[DATABASE_NAME]:
        return Isolation("truncation", f"{DATABASE_NAME.name} is another way in")
    if ISOLATION_FIXTURE in fixtures:
        return Isolation("truncation", f"{AUTOUSE.name} says that there are other ways in")
    by_asyncpg = _by_asyncpg(fixtures, settings)
    if by_asyncpg:
        return Isolation("truncation", f"{by_asyncpg[0]} works through asyncpg")
    is_async = any(name in fixtures for name in ASYNC_COUNTERPARTS)
    counterparts = " and their async counterparts" if is_async else ""
    return Isolation("rollback", f"pg_session and pg_connection{counterparts} are the only way in")


def _by_asyncpg(fixtures: Collection[str], settings: Settings) -> list[str]:
    if settings[ASYNC_DRIVER] != "asyncpg":
        return []
    return [name for name in ASYNC_COUNTERPARTS if name in fixtures]
