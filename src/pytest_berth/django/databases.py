"""Leads ``DATABASES`` of a Django project to databases of berth's servers.

As soon as Django has read its settings, whoever asks for them, each entry that a service of berth's
can serve gets the address that this worker's database will have; aliases of one database share it.
What the entry says beside the address stays. Its schema is what the migrations make, unless the
settings say otherwise: the first database is the service's own, further ones are like those that
``berth_pg_databases`` names. No server is started by this.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from pytest_berth.collection import django_tests
from pytest_berth.config.exports import Export
from pytest_berth.config.options import DJANGO
from pytest_berth.debug_log import debug
from pytest_berth.errors import BerthError, SettingsError
from pytest_berth.schema import run_django

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    import pytest

    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.schema.run_django import Databases

# By what Django calls the kind of a database: the prefix of the service.
SERVICES = {"postgresql": "pg"}
_LONGEST_NAME = 20


class DjangoDatabases:
    """The databases of the project that the tests belong to.

    Attributes:
        aliases: The aliases that lead to berth's servers, each with its service's prefix.
        problem: What is wrong with them; None if nothing.
    """

    def __init__(self, config: pytest.Config, berth: PluginState, *, migrates: bool = True) -> None:
        self.aliases: dict[str, str] = {}
        self.problem: BerthError | None = None
        self._config = config
        self._berth = berth
        self._places: dict[str, Mapping[str, Any]] = {}
        self._flags = "" if migrates else " --no-migrations"

    def watch(self) -> None:
        """Change ``DATABASES`` as soon as Django has read its settings; undone at the end."""
        from django.db import connections

        self.at_end(run_django.when_configured(connections, self._take_over))

    def at_end(self, undo: Callable[[], object]) -> None:
        """Have something undone when the run has ended."""
        self._berth.at_end.callback(undo)

    def require(self) -> None:
        """Look whether that was done, and do it again where something has changed an entry since.

        Raises:
            SettingsError: Django has no settings, or no entry is of a kind that berth serves.
        """
        from django.conf import settings
        from django.db import connections

        if not settings.configured:
            from pytest_berth.schema.django_migrations import no_settings_module

            raise no_settings_module(self._berth.settings.given(DJANGO))
        connections.settings  # noqa: B018  it is read now, if it was not before
        if self.problem:
            raise self.problem
        for alias, place in self._places.items():
            run_django.lead(connections.settings[alias], place)

    def _take_over(self, databases: Databases) -> None:
        same = run_django.same_databases(databases)
        served = {first: prefix for first in same if (prefix := _prefix(databases[first]))}
        if not served:
            self.problem = _none_served(databases, self._berth)
            return
        try:
            self._lead(databases, same, served)
        except BerthError as error:
            self.problem = error

    def _lead(
        self, databases: Databases, same: Mapping[str, Sequence[str]], served: Mapping[str, str]
    ) -> None:
        exports = self._declare(served)
        rendered = self._berth.export([*exports.values()])
        for first, export in exports.items():
            for alias in same[first]:
                self.aliases[alias] = served[first]
                entry, dsn = databases[alias], rendered.get(export.variable)
                if dsn is None:
                    # Never what the settings say: that may be anybody's.
                    run_django.lead_nowhere(entry, "there-is-no-server-for-berth-django")
                else:
                    self._places[alias] = run_django.address(dsn)
                    run_django.lead(entry, self._places[alias])
        for alias, entry in databases.items():
            if alias not in self.aliases:
                _depend_on_others(entry, self.aliases)
        self._config.stash[django_tests.PREFIXES] = frozenset(self.aliases.values())
        debug("django: DATABASES lead to berth's servers: %s", ", ".join(self.aliases))

    def _declare(self, served: Mapping[str, str]) -> Mapping[str, Export]:
        """Make schema and further databases known; return what tells each one's address."""
        settings, origin = self._berth.settings, DJANGO.name
        exports: dict[str, Export] = {}
        names: dict[str, set[str]] = {}
        for number, (alias, prefix) in enumerate(served.items()):
            line = f"django: {alias}{self._flags}"
            variable = f"_BERTH_DJANGO_{number}"
            if prefix not in names:
                names[prefix] = set()
                schema = f"berth_{prefix}_schema"
                if not settings.values[schema].value:
                    settings.amend(schema, (line,), origin)
                text = f"{{{prefix}_dsn}}"
            else:
                name = database_name(alias, names[prefix])
                names[prefix].add(name)
                self._declare_further(prefix, name, line)
                text = f"{{{prefix}_{name}_dsn}}"
            exports[alias] = Export.of(variable, text, origin)
        return exports

    def _declare_further(self, prefix: str, name: str, line: str) -> None:
        options = [option for each in self._berth.services for option in each.options]
        (option,) = (each for each in options if each.name == f"berth_{prefix}_databases")
        settings = self._berth.settings
        known = settings.values[option.name]
        if name not in dict(known.value):
            origin = f"{known.origin}; {DJANGO.name}" if known.value else DJANGO.name
            further = option.parse([f"{name} = {line}"])
            settings.amend(option.name, (*known.value, *further), origin)


def _prefix(entry: Mapping[str, Any]) -> str:
    """Return the prefix of the service that serves an entry; empty where none does."""
    engine = entry.get("ENGINE")
    if not engine:
        return SERVICES["postgresql"]
    from django.core.exceptions import ImproperlyConfigured
    from django.db.utils import load_backend

    try:
        vendor = load_backend(engine).DatabaseWrapper.vendor
    except ImproperlyConfigured as error:
        debug("django: it tells itself what is wrong with an engine: %s", error)
        return ""
    return SERVICES.get(vendor, "")


def database_name(alias: str, taken: Collection[str]) -> str:
    """Return what berth calls a database: letters and digits only, unlike any other's."""
    plain = re.sub(r"[^a-z0-9]", "", alias.lower())
    name = plain if plain[:1].isalpha() else f"db{plain}"
    found, number = name[:_LONGEST_NAME], 1
    while found in taken:
        number += 1
        found = name[: _LONGEST_NAME - len(str(number))] + str(number)
    return found


def _depend_on_others(entry: Any, served: Mapping[str, str]) -> None:
    """Let Django make a database of another kind without waiting for those that are there."""
    test = entry.setdefault("TEST", {})
    if "DEPENDENCIES" in test or "default" in served:
        test["DEPENDENCIES"] = [each for each in test.get("DEPENDENCIES", ()) if each not in served]


def _none_served(databases: Databases, berth: PluginState) -> SettingsError:
    engines = ", ".join(f"{alias}: {entry.get('ENGINE')}" for alias, entry in databases.items())
    engines = engines or "DATABASES is empty"
    return SettingsError(
        f"{DJANGO.name} is set, but no entry of DATABASES is PostgreSQL.",
        why=f"{engines}; {berth.settings.given(DJANGO)}",
        remedy="let DATABASES have 'ENGINE': 'django.db.backends.postgresql'\n"
        "or where it is read from the environment: berth_export = DATABASE_URL = {pg_dsn}",
    )
