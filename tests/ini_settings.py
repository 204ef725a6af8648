"""Settings of a run, as an ini file gives them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_berth.config.options import OPTIONS, Setting, Settings

if TYPE_CHECKING:
    from pytest_berth.api import Service


def settings(service: Service, root: Path = Path(), **given: Any) -> Settings:
    """Return the settings of a run with one service: what is given, and the default of the rest."""
    values = {
        option.name: Setting(option.parse(given[option.name]), "pytest.ini")
        if option.name in given
        else Setting(option.default, "default")
        for option in (*OPTIONS, *service.options)
    }
    return Settings(root, values)
