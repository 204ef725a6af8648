"""``berth_autouse``, ``berth_django``: tests that reach a service, but ask for no fixture of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.collection import django_tests
from pytest_berth.config.options import AUTOUSE, AUTOUSE_PATHS
from pytest_berth.errors import SettingsError, nearest

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from pytest_berth.config.descriptor import Service
    from pytest_berth.config.options import Settings


def applies(item: pytest.Item, service: Service, settings: Settings) -> bool:
    """Tell whether a service runs for a test, and its clean slate holds, whatever it asks for."""
    if django_tests.applies(item, service):
        return True
    if service.prefix not in settings[AUTOUSE]:
        return False
    paths = settings[AUTOUSE_PATHS]
    return not paths or any(item.path.is_relative_to(settings.root / path) for path in paths)


def check(settings: Settings, services: Sequence[Service]) -> None:
    """Check what is set.

    Raises:
        SettingsError: There is no such service, or no such path.
    """
    known = [service.prefix for service in services]
    for name in settings[AUTOUSE]:
        if name not in known:
            raise SettingsError(
                f"{AUTOUSE.name} names an unknown service {name!r}.",
                why=settings.given(AUTOUSE),
                remedy=nearest(_meant(name, services), known),
            )
    for path in settings[AUTOUSE_PATHS]:
        if not (settings.root / path).exists():
            raise SettingsError(
                f"{AUTOUSE_PATHS.name} names a path that is not there: {path!r}.",
                why=f"it is looked for in {settings.root}; {settings.given(AUTOUSE_PATHS)}",
                remedy="write it relative to the ini file's directory",
            )


def _meant(name: str, services: Sequence[Service]) -> str:
    """Return the prefix of the service that is written out, as in ``postgres`` or ``pg_url``."""
    word = name.lower()
    found = (each.prefix for each in services if word.startswith((each.name, each.prefix)))
    return next(found, name)
