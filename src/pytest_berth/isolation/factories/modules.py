"""Finds the factories in the modules that a setting names."""

from __future__ import annotations

import pkgutil
import sys
from importlib import import_module, util
from typing import TYPE_CHECKING

from pytest_berth.errors import SettingsError, nearest, together
from pytest_berth.isolation.factories import factory_boy, polyfactory

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from types import ModuleType

    from pytest_berth.isolation.factories.protocols import Library

_LIBRARIES = (factory_boy, polyfactory)
_SLOW_TO_READ = 20


def find(names: Iterable[str], place: str, root: Path) -> list[Library]:
    """Import modules, and return the factories in them, by the library that they are of.

    Those of a package's modules are the package's. What derives from a factory, wherever it is
    defined, is bound as the factory is.

    Args:
        names: The modules.
        place: Setting and file that name them, for messages.
        root: The ini file's directory.

    Raises:
        SettingsError: A module cannot be imported, or has no factories.
    """
    found: list[set[type]] = [set() for _ in _LIBRARIES]
    problems = []
    for name in names:
        try:
            of_module = _of_module(name, place, root)
        except SettingsError as error:
            problems.append(error)
        else:
            for known, more in zip(found, of_module, strict=True):
                known |= more
    problem = together(problems)
    if problem:
        raise problem
    pairs = zip(_LIBRARIES, found, strict=True)
    return [library.Factories(_with_descendants(each)) for library, each in pairs if each]


def _of_module(name: str, place: str, root: Path) -> list[set[type]]:
    modules = _import(name, place, root)
    found = [_defined(library.bases(), name, modules) for library in _LIBRARIES]
    if not any(found):
        raise _no_factories(name, place, modules)
    return found


def _defined(bases: Sequence[type], name: str, modules: Sequence[ModuleType]) -> set[type]:
    """Return the factories that modules define, or have imported."""
    known = _with_descendants(bases) - set(bases)
    named = {value for module in modules for value in vars(module).values() if _is_class(value)}
    return {each for each in known if each in named or _is_within(each.__module__, name)}


def _with_descendants(classes: Iterable[type]) -> set[type]:
    found, waiting = set[type](), list(classes)
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += each.__subclasses__()
    return found


def _is_class(value: object) -> bool:
    return isinstance(value, type)


def _is_within(module: str, name: str) -> bool:
    return f"{module}.".startswith(f"{name}.")


def _import(name: str, place: str, root: Path) -> list[ModuleType]:
    """Import a module, and those of a package."""
    try:
        module = import_module(name)
        below = pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}.")
        return [module, *(import_module(each.name) for each in below)]
    except ModuleNotFoundError as error:
        if error.name and _is_within(name, error.name):
            raise _not_found(name, error.name, place, root) from error
        raise _failed(name, place, error) from error
    except Exception as error:
        raise _failed(name, place, error) from error


def _failed(name: str, place: str, error: Exception) -> SettingsError:
    return SettingsError(
        f"the module {name!r} with factories could not be imported.",
        why=f"{type(error).__name__}: {error}\n{place}",
        remedy=f"see the whole error: {sys.executable} -c 'import {name}'",
    )


def _not_found(name: str, missing: str, place: str, root: Path) -> SettingsError:
    parent, _, last = missing.rpartition(".")
    paths = getattr(sys.modules.get(parent), "__path__", []) if parent else [str(root)]
    there = {module.name for module in pkgutil.iter_modules(paths)}
    remedy = nearest(last, there) if 0 < len(there) <= _SLOW_TO_READ else "check its name"
    if not parent and util.find_spec(missing) is None:
        remedy = f"if it is in this project, set `pythonpath = .` in pytest.ini; {remedy}"
    return SettingsError(
        f"the module {name!r} with factories was not found.",
        why=f"there is no {missing!r}\n{place}",
        remedy=remedy,
    )


def _no_factories(name: str, place: str, modules: Sequence[ModuleType]) -> SettingsError:
    others = [
        f"{key} is a {base}"
        for module in modules
        for key, value in vars(module).items()
        for base in _other_bases(value)
    ]
    return SettingsError(
        f"the module {name!r} has no factories of SQLAlchemy models.",
        why="\n".join([*others[:3], place]),
        remedy="name a module with classes that derive from"
        " factory.alchemy.SQLAlchemyModelFactory of factory_boy, or from"
        " polyfactory.factories.sqlalchemy_factory.SQLAlchemyFactory",
    )


def _other_bases(value: object) -> list[str]:
    """Return the library's class that a factory of another kind derives from."""
    libraries = ("factory.", "polyfactory.")
    if not isinstance(value, type) or f"{value.__module__}.".startswith(libraries):
        return []
    names = (f"{base.__module__}.{base.__qualname__}" for base in value.__mro__)
    return [name for name in names if name.startswith(libraries)][:1]
