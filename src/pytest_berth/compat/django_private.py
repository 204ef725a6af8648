"""Django's private names."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterator


def is_of_test_case(block: Any) -> bool:
    """Tell whether an atomic block is one that a TestCase has opened around its tests."""
    return bool(getattr(block, "_from_testcase", False))


def migrations_module(label: str) -> str | None:
    """Return the name of the package that an app's migrations are in; None where it has none."""
    from django.db.migrations.loader import MigrationLoader

    name: str | None = MigrationLoader.migrations_module(label)[0]
    return name


def receivers_of_migrate() -> Iterator[Any]:
    """Yield the functions that are called before and after a migration."""
    from django.db.models.signals import post_migrate, pre_migrate

    for signal in (pre_migrate, post_migrate):
        for _, reference, *_ in signal.receivers:
            found = reference() if isinstance(reference, weakref.ReferenceType) else reference
            if found is not None:
                yield found


def when_set_up(call: Callable[[], object]) -> Callable[[], None]:
    """Have a function called as soon as Django has read the project's settings.

    Returns:
        What undoes it.
    """
    from django.conf import LazySettings

    original = LazySettings._setup

    def set_up(self: Any, name: str | None = None) -> None:
        original(self, name)
        call()

    LazySettings._setup = set_up
    return lambda: setattr(LazySettings, "_setup", original)


def leave_sequences(aliases: Container[str]) -> Callable[[], None]:
    """Let ``reset_sequences`` of a TransactionTestCase do nothing for some databases.

    Args:
        aliases: Those whose sequences stand where they did after the migrations, with their rows.

    Returns:
        What undoes it.
    """
    from django.test import TransactionTestCase

    original = vars(TransactionTestCase)["_reset_sequences"]

    def reset(alias: str) -> None:
        if alias not in aliases:
            original.__get__(TransactionTestCase, TransactionTestCase)(alias)

    TransactionTestCase._reset_sequences = staticmethod(reset)
    return lambda: setattr(TransactionTestCase, "_reset_sequences", original)
