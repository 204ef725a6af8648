"""Runs in the process of ``django:`` lines; started by its path.

`TASK` in the environment says what to migrate, and where. Nothing of the package is imported when
this is: the directory of this file is taken off ``sys.path``, as its modules are named like others.
What leads Django's settings to a database is used by pytest's process, too.
"""

from __future__ import annotations

import os
import sys

if __name__ == "__main__":
    sys.path[:] = [place for place in sys.path if place != os.path.dirname(__file__)]  # noqa: PTH120

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    Entry = MutableMapping[str, Any]
    Databases = MutableMapping[str, Entry]

TASK = "_PYTEST_BERTH_DJANGO"
SETTINGS_MODULE = "DJANGO_SETTINGS_MODULE"
CONFIGURATION = "DJANGO_CONFIGURATION"
UNKNOWN_ALIAS = 91
_DEFAULT_ENGINE = "django.db.backends.postgresql"
# What says which server a client of PostgreSQL or MySQL connects to, as whom, and how.
_OF_ADDRESSES = (
    r"service|passfile|host(addr)?|port|user|passw(or)?d|db(name)?|database|unix_socket"
    r"|ssl.*|requiressl|channel_binding|gss.*|krbsrvname|require_auth|requirepeer"
    r"|target_session_attrs|load_balance_hosts|read_default_.*"
)


def address(dsn: str) -> dict[str, Any]:
    """Return the part of an entry of ``DATABASES`` that a URL stands for."""
    parts = urlsplit(dsn)
    options = dict(parse_qsl(parts.query))
    # A directory of sockets is given apart.
    host = options.pop("host", "") or parts.hostname or ""
    port = options.pop("port", "") or str(parts.port or "")
    return {
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": port,
        "OPTIONS": options,
    }


def lead(entry: Entry, place: Mapping[str, Any]) -> None:
    """Lead an entry of ``DATABASES`` to a database; what else it says is kept.

    Args:
        entry: The entry.
        place: What `address` has returned.
    """
    given = (entry.get("OPTIONS") or {}).items()
    kept = {name: value for name, value in given if not re.fullmatch(_OF_ADDRESSES, name)}
    entry.setdefault("ENGINE", _DEFAULT_ENGINE)
    entry.update({**place, "OPTIONS": {**kept, **place["OPTIONS"]}})


def lead_nowhere(entry: Entry, why: str) -> None:
    """Let an entry of ``DATABASES`` lead to no server; SQLite is in memory then.

    Args:
        entry: The entry.
        why: What the error of a connection tells, as the host's name.
    """
    if entry.get("ENGINE", "").rpartition(".")[2] in {"sqlite3", "spatialite"}:
        entry["NAME"] = ":memory:"
    else:
        nowhere = {"NAME": "none", "USER": "", "PASSWORD": "", "HOST": f"{why}.invalid", "PORT": ""}
        lead(entry, {**nowhere, "OPTIONS": {}})


def same_databases(databases: Databases) -> dict[str, list[str]]:
    """Return the aliases that are of one database, by the first of them: mirrors, and equals."""
    first: dict[object, str] = {}
    found: dict[str, list[str]] = {}
    # Those that lead to the same place are told by the default, wherever it stands.
    names = sorted(databases, key="default".__ne__)
    for alias in names:
        entry = databases[alias]
        if not _mirrored(databases, alias):
            given = (entry.get(name) for name in ("ENGINE", "HOST", "PORT", "NAME"))
            place = (*given, (entry.get("TEST") or {}).get("NAME")) if entry.get("NAME") else alias
            found.setdefault(first.setdefault(place, alias), []).append(alias)
    for alias in names:
        mirrored = _mirrored(databases, alias)
        if mirrored:
            next(each for each in found.values() if mirrored in each).append(alias)
    return found


def _mirrored(databases: Databases, alias: str) -> str:
    """Return the alias that another one is a mirror of, at last; empty where it is none."""
    seen, at = {alias}, alias
    while (databases[at].get("TEST") or {}).get("MIRROR") in databases.keys() - seen:
        at = databases[at]["TEST"]["MIRROR"]
        seen.add(at)
    return at if at != alias else ""


def when_configured(connections: Any, change: Callable[[Databases], None]) -> Callable[[], None]:
    """Call *change* with ``DATABASES`` when Django has read them, before anything connects.

    Args:
        connections: ``django.db.connections``.
        change: Changes the entries where they stand, as ``settings.DATABASES`` are the same.

    Returns:
        What undoes it.
    """
    if "settings" in vars(connections):
        change(connections.settings)
        return lambda: None
    from pytest_berth.compat import django_private
    from pytest_berth.debug_log import ignoring

    configure = connections.configure_settings

    def changed(databases: Databases | None) -> Any:
        if databases is None:
            from django.conf import settings

            databases = settings.DATABASES
        change(databases)
        return configure(databases)

    def read() -> None:
        """Not later, as an application may make its own connections of ``settings.DATABASES``."""
        from django.core.exceptions import ImproperlyConfigured

        with ignoring(ImproperlyConfigured, why="Django tells so again when it needs them"):
            connections.settings  # noqa: B018  it is read

    connections.configure_settings = changed
    undo = django_private.when_set_up(read)

    def undo_all() -> None:
        undo()
        vars(connections).pop("configure_settings", None)

    return undo_all


def set_up() -> None:
    """Set Django up by its settings module, or by the class that django-configurations takes."""
    if os.environ.get(CONFIGURATION):
        import configurations

        configurations.setup()
    else:
        import django

        django.setup()


def main() -> int:
    """Migrate; return the exit status."""
    task = json.loads(os.environ.pop(TASK))
    # Where pytest finds the project, its migrations find it too.
    sys.path += [place for place in task["path"] if place not in sys.path]
    try:
        return migrate(task)
    except Exception as error:
        from pytest_berth.schema.run_alembic import print_shortened

        print_shortened(error)
        return 1


def migrate(task: Mapping[str, Any]) -> int:
    """Migrate the database of the task as Django does for tests; return the exit status."""
    from django.db import connections

    alias = task["alias"]
    others = f"only-{alias}-is-migrated-here"

    def change(databases: Databases) -> None:
        same = next((each for each in same_databases(databases).values() if alias in each), ())
        for name, entry in databases.items():
            if name in same:
                lead(entry, address(task["dsn"]))
            else:
                lead_nowhere(entry, others)

    when_configured(connections, change)
    set_up()
    if alias not in connections.settings:
        print("DATABASES has:", ", ".join(connections.settings), file=sys.stderr)
        return UNKNOWN_ALIAS
    from django.apps import apps
    from django.conf import settings
    from django.core.management import call_command

    if not task["migrates"] or connections[alias].settings_dict["TEST"]["MIGRATE"] is False:
        settings.MIGRATION_MODULES = {app.label: None for app in apps.get_app_configs()}
    call_command("migrate", verbosity=1, interactive=False, database=alias, run_syncdb=True)
    call_command("createcachetable", database=alias)
    connections.close_all()
    return 0


if __name__ == "__main__":
    sys.exit(main())
