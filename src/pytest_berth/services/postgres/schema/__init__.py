"""Schema and seeds of Postgres: what steps ask of it, and how SQL files are read and sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth import schema
from pytest_berth.schema import FORMS, Step, Target
from pytest_berth.services.postgres.schema.dialect import POSTGRES

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["FORMS", "Step", "Target", "parse"]


def parse(item: object, root: Path, *, check_drift: bool = False) -> tuple[Step, ...]:
    """Return the steps of a line, an object or a sequence of those; as `schema.parse`."""
    return schema.parse(item, root, POSTGRES, check_drift=check_drift)
