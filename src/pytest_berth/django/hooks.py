"""What a run with ``berth_django`` does at each of pytest's steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.collection import django_tests
from pytest_berth.compat import django_private
from pytest_berth.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

    from pytest_berth.django.databases import DjangoDatabases

_NOTHING_TO_DO = {
    "reuse_db": "--reuse-db has nothing to do for them: --berth-keep 15m lets the server stay, with"
    " the migrated database",
    "create_db": "--create-db has nothing to do for them: each run has new clones, and migrates"
    " again when a migration has changed",
}


class DjangoHooks:
    """A plugin of a run whose Django project has databases of berth's."""

    def __init__(self, databases: DjangoDatabases) -> None:
        self._databases = databases

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self, session: pytest.Session) -> None:
        """Look whether Django has settings by now, when all others had their turn to set some."""
        try:
            self._databases.require()
        except SettingsError as error:
            raise pytest.UsageError(str(error)) from None
        self._let_django_make_others_only(session)
        self._databases.at_end(django_private.leave_sequences(self._databases.aliases))

    def pytest_report_header(self, config: pytest.Config) -> list[str]:
        """Tell which aliases are berth's, and which flags of pytest-django do nothing."""
        shown = ", ".join(self._databases.aliases)
        flags = (text for name, text in _NOTHING_TO_DO.items() if getattr(config.option, name, 0))
        return [f"berth: databases of Django: {shown}", *(f"berth: {text}" for text in flags)]

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None]:
        """Forget the ids that Django has cached of rows which it made anew in a flushed table."""
        result = yield
        if django_tests.commits(item):
            _forget_cached_rows()
        return result

    def _let_django_make_others_only(self, session: pytest.Session) -> None:
        """Let Django's own set-up of test databases leave out those that berth makes.

        It looks the function up that finds them when it is called, wherever it was imported before.
        Old versions of pytest-django do not ask for what test cases are given beside ``default``.
        """
        from django.test import utils

        find = utils.get_unique_databases_and_mirrors
        ours = self._databases.aliases

        def of_others(aliases: Iterable[str] | None = None) -> Any:
            from django.db import connections

            asked = connections if aliases is None else aliases
            used = django_tests.aliases_used(getattr(session, "items", ()))
            return find({*asked, *used} - ours.keys())

        utils.get_unique_databases_and_mirrors = of_others
        self._databases.at_end(lambda: setattr(utils, "get_unique_databases_and_mirrors", find))


def _forget_cached_rows() -> None:
    from django.apps import apps

    if apps.is_installed("django.contrib.contenttypes"):
        from django.contrib.contenttypes.models import ContentType

        ContentType.objects.clear_cache()
    if apps.is_installed("django.contrib.sites"):
        from django.contrib.sites.models import Site

        Site.objects.clear_cache()
