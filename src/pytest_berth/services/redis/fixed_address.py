"""Password, port and number of an application that cannot be told others."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pytest_berth.config.common_options import RUN
from pytest_berth.config.options import EXPORT, SOURCE, Option
from pytest_berth.errors import SettingsError
from pytest_berth.services.redis import options as ini

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
    given = [option for option in OF_SERVER if settings[option]]
    source: str = settings[ini.SOURCE] or settings[SOURCE]
    is_external = bool(settings[ini.URL]) and source in {"auto", "external"}
    if is_external and given:
        raise _at_url(settings, given[0])
    if berth.run.workers == 1:
        return
    if settings[ini.PORT]:
        raise _one_port(berth)
    if settings[ini.NUMBER] and (is_external or settings[ini.SCOPE] == RUN):
        raise _one_number(berth)


def _at_url(settings: Settings, option: Option[Any]) -> SettingsError:
    return SettingsError(
        f"{option.name} has no effect on a server that is given by URL.",
        why=f"{settings.given(option)}; {settings.given(ini.URL)}",
        remedy=f"leave {option.name} out; the URL says where the server is, and its password\n"
        f"or let berth start a server like that: {ini.SOURCE.name} = container (or local)",
    )


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
