"""Schema and seeds of MySQL and MariaDB: what steps ask of it, and how SQL files are sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth import schema
from pytest_berth.services.mysql.options import ALEMBIC_DRIFT
from pytest_berth.services.mysql.schema.dialect import MYSQL_DIALECT

if TYPE_CHECKING:
    from pytest_berth.config.options import Settings
    from pytest_berth.schema import Step


def parse(settings: Settings, items: object) -> tuple[Step, ...]:
    """Return the steps that lines of the settings, or values of the fixtures, stand for.

    Raises:
        SettingsError: Something is none of the known forms.
    """
    drift = settings[ALEMBIC_DRIFT] == "error"
    return schema.parse(items, settings.root, MYSQL_DIALECT, check_drift=drift)
