"""Gives a server the names that an application cannot be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.api import Credentials
from pytest_berth.collection import common_checks
from pytest_berth.config.common_options import WORKER
from pytest_berth.config.options import EXPORT, Option
from pytest_berth.errors import SettingsError
from pytest_berth.services.postgres import options as ini
from pytest_berth.services.postgres.service import POSTGRES

if TYPE_CHECKING:
    from pytest_berth.config.options import Settings
    from pytest_berth.run.plugin_state import PluginState

NAMES: tuple[Option[Any], ...] = (ini.USER, ini.PASSWORD, ini.DATABASE_NAME, ini.PORT)
_OTHER = "template1"


def chosen(settings: Settings, account: Credentials) -> Credentials:
    """Return a new server's account with what the settings have chosen of it."""
    if not any(settings[option] for option in NAMES):
        return account
    database = settings[ini.DATABASE_NAME]
    return Credentials(
        settings[ini.USER] or account.user,
        settings[ini.PASSWORD] or account.password,
        # Tests' own database is made anew, which nobody can do who is connected to it.
        _OTHER if database == account.database else account.database,
        fixed=database,
        chosen=bool(settings[ini.PASSWORD]),
        token=account.token,
        given=True,
    )


def check(berth: PluginState) -> None:
    """Check that the servers of this run can have the names that the settings fix.

    Raises:
        SettingsError: The server is given by URL, or several workers would share a name.
    """
    settings = berth.settings
    common_checks.check_not_at_url(POSTGRES, settings, NAMES)
    if berth.run.workers == 1:
        return
    if settings[ini.PORT]:
        raise _one_port(berth)
    if settings[ini.DATABASE_NAME] and settings[ini.SCOPE] != WORKER:
        raise _one_database(berth)


def _one_port(berth: PluginState) -> SettingsError:
    return SettingsError(
        "several workers cannot each have a server at the same port.",
        why=f"{berth.settings.given(ini.PORT)}; {berth.run.workers} workers (xdist's -n)",
        remedy=f"leave {ini.PORT.name} out, set {ini.SCOPE.name} = worker, and tell the application"
        f" each worker's port: {EXPORT.name} = PGPORT = {{pg_port}}\n"
        "or, where it cannot be told a port, run without -n: one process can have that port",
    )


def _one_database(berth: PluginState) -> SettingsError:
    return SettingsError(
        "several workers cannot work in one database.",
        why=f"{berth.settings.given(ini.DATABASE_NAME)}; {berth.run.workers} workers (xdist's -n)"
        " share a server",
        remedy=f"{ini.SCOPE.name} = worker  # each worker has a server with a database of that name"
        "\nor run without -n",
    )
