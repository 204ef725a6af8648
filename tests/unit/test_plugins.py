"""What berth registers with pytest, whatever its version."""

from __future__ import annotations

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING

import pytest_berth

if TYPE_CHECKING:
    from collections.abc import Iterator


def test_every_plugin_is_hashable() -> None:
    # pytest 9.0 and older keeps the objects that it has looked at for fixtures in a set.
    plugins = set(_classes_with_hooks())
    assert {"BetweenTests", "Controller", "FailFast", "Unwinding"} <= {
        cls.__name__ for cls in plugins
    }
    assert [cls.__name__ for cls in plugins if cls.__hash__ is None] == []


def _classes_with_hooks() -> Iterator[type]:
    for found in pkgutil.walk_packages(pytest_berth.__path__, "pytest_berth."):
        for value in vars(import_module(found.name)).values():
            if isinstance(value, type) and any(name.startswith("pytest_") for name in vars(value)):
                yield value
