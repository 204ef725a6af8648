"""Which tests reach the databases of a Django project: ``berth_django``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_berth.config.descriptor import Service

# Prefixes of the services that Django's databases are on, since its settings have been read.
PREFIXES = pytest.StashKey["frozenset[str]"]()
MARKER = "django_db"
_COMMITTING = {
    "transactional_db",
    "live_server",
    "django_db_reset_sequences",
    "django_db_serialized_rollback",
}
_FIXTURES = {"db", "django_db_setup", "_django_db_helper", *_COMMITTING}
_USES = pytest.StashKey[bool]()


def applies(item: pytest.Item, service: Service) -> bool:
    """Tell whether a test reaches a service by Django's connections."""
    prefixes = item.config.stash.get(PREFIXES, ())
    return service.prefix in prefixes and uses_databases(item)


def uses_databases(item: pytest.Item) -> bool:
    """Tell whether a test is given databases, by Django's classes or by pytest-django."""
    if _USES not in item.stash:
        item.stash[_USES] = _is_given_databases(item)
    return item.stash[_USES]


def commits(item: pytest.Item) -> bool:
    """Tell whether what a test writes is committed, and its tables are flushed by Django."""
    case = _test_case(item)
    if case is not None:
        django_test: Any = sys.modules["django.test"]
        of_transactions = issubclass(case, django_test.TransactionTestCase)
        return of_transactions and not issubclass(case, django_test.TestCase)
    marker = item.get_closest_marker(MARKER)
    by_marker = marker is not None and bool(
        marker.kwargs.get("transaction") or marker.kwargs.get("reset_sequences") or marker.args[:1]
    )
    return by_marker or not _COMMITTING.isdisjoint(getattr(item, "fixturenames", ()))


def aliases_used(items: Iterable[pytest.Item]) -> set[str]:
    """Return the aliases of the databases that Django's test cases are given."""
    from django.db import connections

    given = [case.databases for case in set(map(_test_case, items)) if case]
    return {name for each in given for name in (connections if each == "__all__" else each)}


def _is_given_databases(item: pytest.Item) -> bool:
    case = _test_case(item)
    if case is not None:
        return bool(case.databases)
    has_marker = item.get_closest_marker(MARKER) is not None
    return has_marker or not _FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def _test_case(item: pytest.Item) -> Any:
    """Return the test's class where it is one of Django's."""
    django_test: Any = sys.modules.get("django.test")
    found = getattr(item, "cls", None)
    if django_test and found and issubclass(found, django_test.SimpleTestCase):
        return found
    return None
