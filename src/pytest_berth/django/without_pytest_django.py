"""Sets Django up for its own test cases where pytest-django is not there to do so."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_berth.collection import django_tests
from pytest_berth.config.options import DJANGO
from pytest_berth.debug_log import ignoring
from pytest_berth.errors import SettingsError
from pytest_berth.schema import run_django

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.run.plugin_state import PluginState

_PROJECT_FILE = "manage.py"
_PYTEST_DJANGO = ("django", "pytest_django", "pytest_django.plugin")


def is_needed(config: pytest.Config) -> bool:
    """Tell whether pytest-django does not take part in this run."""
    return not any(map(config.pluginmanager.hasplugin, _PYTEST_DJANGO))


def set_up(config: pytest.Config, parser: pytest.Parser, berth: PluginState) -> None:
    """Set Django up as ``manage.py`` does: by the settings that ini file or environment name.

    Raises:
        SettingsError: Nothing names them, or they cannot be imported.
    """
    parser.addini(run_django.SETTINGS_MODULE, "Django settings module", default="")
    name = os.environ.get(run_django.SETTINGS_MODULE) or config.getini(run_django.SETTINGS_MODULE)
    if not name:
        from pytest_berth.schema.django_migrations import no_settings_module

        raise no_settings_module(berth.settings.given(DJANGO))
    # As the suite would find its project, were it imported by now.
    places = [*map(str, config.getini("pythonpath")), *map(str, _projects(config))]
    sys.path[:0] = [place for place in dict.fromkeys(places) if place not in sys.path]
    if run_django.SETTINGS_MODULE not in os.environ:
        os.environ[run_django.SETTINGS_MODULE] = name
        berth.at_end.callback(os.environ.pop, run_django.SETTINGS_MODULE, None)
    from django.conf import settings

    try:
        settings.INSTALLED_APPS  # noqa: B018  imports the module
        run_django.set_up()
    except ImportError as error:
        raise SettingsError(
            f"the settings of the Django project cannot be imported: {name}.",
            why=f"{type(error).__name__}: {error}; {_PROJECT_FILE} was looked for in"
            f" {config.rootpath} and the directories in it",
            remedy="let the ini file say where modules are: pythonpath = src",
        ) from error
    except Exception as error:  # whatever the project's own code raises
        raise SettingsError(
            f"the Django project cannot be set up by its settings: {name}.",
            why=f"{type(error).__name__}: {error}",
            remedy="where a variable is missing that leads to the database:"
            " berth_export = DATABASE_URL = {pg_dsn}",
        ) from error


class TestEnvironment:
    """A plugin that gives Django's tests what its own runner would: an outbox, other databases."""

    __test__ = False

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Iterator[None]:
        """Set up what tests share, around all of them."""
        from django.test import utils

        is_ours = False
        with ignoring(RuntimeError, why="the suite has set Django's test environment up itself"):
            utils.setup_test_environment(debug=False)
            is_ours = True
        aliases = django_tests.aliases_used(session.items)
        made = utils.setup_databases(verbosity=0, interactive=False, aliases=aliases)
        try:
            return (yield)
        finally:
            utils.teardown_databases(made, verbosity=0)
            if is_ours:
                utils.teardown_test_environment()


def _projects(config: pytest.Config) -> Iterator[Path]:
    """Yield the directories that have a ``manage.py``, near the ini file or the working one."""
    for place in dict.fromkeys((Path.cwd(), config.rootpath)):
        for directory in (place, *sorted(each for each in place.iterdir() if each.is_dir())):
            if (directory / _PROJECT_FILE).is_file():
                yield directory
