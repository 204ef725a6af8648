"""The port of an application that cannot be told another."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pytest_berth.config.options import EXPORT, SOURCE
from pytest_berth.errors import SettingsError
from pytest_berth.services.kafka import options as ini

if TYPE_CHECKING:
    from pytest_berth.api import Credentials
    from pytest_berth.config.options import Settings
    from pytest_berth.run.plugin_state import PluginState


def chosen(settings: Settings, account: Credentials) -> Credentials:
    """Return a new broker's account, which says whether its port is fixed."""
    return replace(account, given=bool(settings[ini.PORT]))


def check(berth: PluginState) -> None:
    """Check that the broker of this run can have the port that the settings fix.

    Raises:
        SettingsError: The broker is given by URL, or several workers would each have one there.
    """
    settings = berth.settings
    if not settings[ini.PORT]:
        return
    source: str = settings[ini.SOURCE] or settings[SOURCE]
    if settings[ini.URL] and source in {"auto", "external"}:
        raise SettingsError(
            f"{ini.PORT.name} has no effect on a server that is given by URL.",
            why=f"{settings.given(ini.PORT)}; {settings.given(ini.URL)}",
            remedy=f"leave {ini.PORT.name} out; the URL says where the broker is\n"
            f"or let berth start one there: {ini.SOURCE.name} = container (or local)",
        )
    if berth.run.workers > 1 and settings[ini.SCOPE] != "run":
        raise SettingsError(
            "several workers cannot each have a broker at the same port.",
            why=f"{settings.given(ini.PORT)}; {settings.given(ini.SCOPE)};"
            f" {berth.run.workers} workers (xdist's -n)",
            remedy=f"leave {ini.PORT.name} out, and tell the application each worker's broker:"
            f" {EXPORT.name} = KAFKA_BOOTSTRAP = {{kafka_bootstrap}}\n"
            f"or share one broker: {ini.SCOPE.name} = run",
        )
