"""Password, port and number of an application that cannot be told others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_berth.collection import common_checks
from pytest_berth.config.common_options import RUN
from pytest_berth.config.options import EXPORT, SOURCE, Option
from pytest_berth.errors import SettingsError
from pytest_berth.services.redis import options as ini
from pytest_berth.services.redis.service import REDIS

if TYPE_CHECKING:
    from pytest_berth.api import Credentials
    from pytest_berth.config.options import Settings
    from pytest_berth.run.plugin_state import PluginState

OF_SERVER: tuple[Option[Any], ...] = (ini.PASSWORD, ini.PORT)


def chosen(settings: Settings, account: Credentials) -> Credentials:
    """Return a new server's account with what the settings have chosen of it."""
    password = settings[ini.PASSWORD]
    if not password:
        return replace(account, given=bool(settings[ini.PORT]))
    word = "" if password == ini.NO_PASSWORD else password
    return replace(account, password=word, chosen=True, given=True)


def check(berth: PluginState) -> None:
    """Check that the servers of this run can have what the settings fix.

    Raises:
        SettingsError: The server is given by URL, or several workers would share what is one's.
    """
    settings = berth.settings
    common_checks.check_not_at_url(REDIS, settings, OF_SERVER)
    if berth.run.workers == 1:
        return
    if settings[ini.PORT]:
        raise _one_port(berth)
    is_shared = settings[ini.SCOPE] == RUN or (
        settings[ini.URL] and (settings[ini.SOURCE] or settings[SOURCE]) in {"auto", "external"}
    )
    if settings[ini.NUMBER] and is_shared:
        raise _one_number(berth)


def _one_port(berth: PluginState) -> SettingsError:
    return SettingsError(
        "several workers cannot each have a Redis at the same port.",
        why=f"{berth.settings.given(ini.PORT)}; {berth.run.workers} workers (xdist's -n)",
        remedy=f"leave {ini.PORT.name} out, set {ini.SCOPE.name} = worker, and tell the application"
        f" each worker's port: {EXPORT.name} = REDIS_PORT = {{redis_port}}\n"
        "or, where it cannot be told a port, run without -n: one process can have that port",
    )


def _one_number(berth: PluginState) -> SettingsError:
    return SettingsError(
        "several workers cannot work in one database number.",
        why=f"{berth.settings.given(ini.NUMBER)}; {berth.run.workers} workers (xdist's -n) share"
        " a server",
        remedy=f"{ini.SCOPE.name} = worker  # each worker has a server of its own\n"
        "or run without -n",
    )
