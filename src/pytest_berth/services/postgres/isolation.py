"""Which isolation a test gets, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_berth.services.postgres.options import ISOLATION

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_berth.settings import Settings

DOORS = ("pg_url", "pg_dsn", "pg_engine")


@dataclass(frozen=True)
class Isolation:
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
    """
    if asked and asked != "auto":
        return Isolation(asked, "asked for by the marker")
    configured = settings[ISOLATION]
    if configured != "auto" and asked is None:
        return Isolation(configured, f"set by {settings.origin(ISOLATION)}")
    doors = [door for door in DOORS if door in fixtures]
    if doors:
        return Isolation("truncation", f"{doors[0]} is another way in")
    if exported:
        return Isolation("truncation", "berth_export is another way in")
    return Isolation("rollback", "pg_session and pg_connection are the only way in")
