"""What the migrations of a Django project depend on, as one text.

The files of the migrations of all apps count, those of installed packages included, and what writes
rows beside them: the models, by which permissions and content types are made, handlers of
``pre_migrate`` and ``post_migrate``, routers. What a migration imports from elsewhere cannot be
known: ``berth_<prefix>_fingerprint`` names such files.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_berth.compat import django_private
from pytest_berth.debug_log import ignoring
from pytest_berth.schema import fingerprint

if TYPE_CHECKING:
    from collections.abc import Iterator

_SETTINGS = (
    "INSTALLED_APPS",
    "AUTH_USER_MODEL",
    "DEFAULT_AUTO_FIELD",
    "DEFAULT_TABLESPACE",
    "DEFAULT_INDEX_TABLESPACE",
    "LANGUAGE_CODE",
    "TIME_ZONE",
    "USE_TZ",
    "SITE_ID",
)


def of(alias: str, *, migrates: bool) -> str | None:
    """Return the fingerprint of the migrations for a database.

    Args:
        alias: The database's name in ``DATABASES``.
        migrates: Whether migrations are used; else the models alone count.

    Returns:
        None where Django is not set up in this process.
    """
    registry: Any = sys.modules.get("django.apps")
    if registry is None or not registry.apps.ready:
        return None
    import django
    from django.conf import settings
    from django.db import connections

    entry = connections.settings.get(alias, {})
    values = {name: getattr(settings, name, None) for name in _SETTINGS}
    values["OPTIONS"] = (entry.get("OPTIONS") or {}).get("options")
    values["MIGRATE"] = (entry.get("TEST") or {}).get("MIGRATE")
    values["CACHES"] = [
        each.get("LOCATION")
        for each in settings.CACHES.values()
        if each.get("BACKEND", "").endswith("DatabaseCache")
    ]
    parts = [django.__version__, str(migrates), entry.get("ENGINE", ""), repr(values)]
    for app in registry.apps.get_app_configs():
        parts.append(app.label)
        if migrates:
            package = django_private.migrations_module(app.label)
            parts.append(str(package))
            parts += _package(package)
        models = app.models_module
        parts += _module(models) if models else ()
        parts += _bases(app)
    for function in (*django_private.receivers_of_migrate(), *settings.DATABASE_ROUTERS):
        parts += _named(function)
    return fingerprint.digest(parts)


def _bases(app: Any) -> Iterator[str]:
    """Yield what defines the models and fields of an app, wherever that is."""
    names = {
        each.__module__
        for model in app.get_models(include_auto_created=True)
        for each in (*model.__mro__, *map(type, model._meta.local_fields))  # noqa: SLF001  documented
    }
    for name in sorted(names):
        if name in sys.modules and name.partition(".")[0] not in {"django", "builtins"}:
            yield name
            yield from _module(sys.modules[name])


def _package(name: str | None) -> Iterator[str]:
    """Yield the fingerprints of all files of a package of migrations; nothing for none."""
    with ignoring(ModuleNotFoundError, why=f"{name} is of an app without migrations"):
        found = find_spec(name) if name else None
        for place in (found and found.submodule_search_locations) or ():
            yield fingerprint.directory(Path(place))


def _module(module: Any) -> Iterator[str]:
    """Yield the fingerprint of a module's file, or of its directory's."""
    path = Path(getattr(module, "__file__", None) or "")
    if path.name == "__init__.py":
        yield fingerprint.directory(path.parent)
    elif path.is_file():
        yield fingerprint.files([path], path.parent)


def _named(item: Any) -> Iterator[str]:
    """Yield the fingerprint of what defines a function, or a class that is named by its path."""
    if isinstance(item, str):
        name = item.rpartition(".")[0]
        __import__(name)
        yield item
    else:
        name = getattr(item, "__module__", "")
        yield f"{name}.{getattr(item, '__qualname__', type(item).__qualname__)}"
    if name in sys.modules and not name.startswith("django."):
        yield from _module(sys.modules[name])
