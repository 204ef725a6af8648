"""Begins what ``berth_django`` asks for, before conftest files and pytest-django do anything."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pytest_berth.config.options import DJANGO
from pytest_berth.errors import SettingsError

if TYPE_CHECKING:
    import pytest

    from pytest_berth.run.plugin_state import PluginState


def start(config: pytest.Config, parser: pytest.Parser, berth: PluginState) -> None:
    """Lead ``DATABASES`` to berth's servers, and set Django up where nobody else does.

    Raises:
        SettingsError: Django is not installed, or its settings cannot be had.
    """
    if find_spec("django") is None:
        raise SettingsError(
            f"{DJANGO.name} needs the package 'django', which is not installed.",
            why=f"{berth.settings.given(DJANGO)}; it is not installed for {sys.executable}",
            remedy="pip install django",
        )
    from pytest_berth.django import without_pytest_django
    from pytest_berth.django.databases import DjangoDatabases
    from pytest_berth.django.hooks import DjangoHooks

    no_migrations = getattr(config.known_args_namespace, "nomigrations", False)
    databases = DjangoDatabases(config, berth, migrates=not no_migrations)
    databases.watch()
    config.pluginmanager.register(DjangoHooks(databases), "berth-django")
    if without_pytest_django.is_needed(config):
        without_pytest_django.set_up(config, parser, berth)
        environment = without_pytest_django.TestEnvironment()
        config.pluginmanager.register(environment, "berth-django-environment")
