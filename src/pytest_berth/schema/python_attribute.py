"""``package.module:Base.metadata``: an attribute that is looked up by its name."""

from __future__ import annotations

import importlib.util
import inspect
import pkgutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_berth.errors import SettingsError
from pytest_berth.schema import python_objects
from pytest_berth.schema.steps import suggest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path
    from types import ModuleType

    import sqlalchemy

    from pytest_berth.schema.dialect import Dialect
    from pytest_berth.schema.steps import Step, Target


@dataclass(frozen=True)
class Attribute:
    """A MetaData or a function, by the name of its module and its path in there."""

    line: str
    module: str
    path: str
    root: Path
    dialect: Dialect

    @property
    def calls_suite(self) -> bool:
        """Whether it is a function, and no MetaData."""
        return self._step().calls_suite

    @property
    def tables(self) -> Collection[str]:
        """Names of the tables of a MetaData."""
        return self._step().tables

    def fingerprint(self) -> str | None:
        """Return the fingerprint of what the attribute stands for."""
        return self._step().fingerprint()

    def check(self) -> None:
        """Import the module and look the attribute up."""
        self._step().check()

    def run(self, target: Target) -> None:
        """Do what the attribute stands for."""
        self._step().run(target)

    def run_in(self, connection: sqlalchemy.Connection) -> None:
        """Do what the attribute stands for, inside a transaction."""
        self._step().run_in(connection)

    def _step(self) -> Step:
        value: object = self._import()
        for name in self.path.split("."):
            try:
                value = getattr(value, name)
            except AttributeError as error:
                raise self._no_attribute(value, name) from error
        step = python_objects.step_for(value, self.line, self.dialect)
        if step is None:
            raise python_objects.not_usable(self.line, value)
        return step

    def _import(self) -> ModuleType:
        try:
            return importlib.import_module(self.module)
        except Exception as error:
            missing = getattr(error, "name", None)
            absent = isinstance(error, ModuleNotFoundError) and missing
            if absent and f"{self.module}.".startswith(f"{missing}."):
                raise self._no_module(str(missing), error) from error
            raise SettingsError(
                f"the module {self.module!r} could not be imported.",
                why=f"{python_objects.describe(error, self.root)}\nthe line is {self.line!r}",
                remedy=f"see the whole error: {sys.executable} -c 'import {self.module}'",
            ) from error

    def _no_module(self, missing: str, error: Exception) -> SettingsError:
        remedy = suggest(
            missing.rpartition(".")[2],
            _siblings(missing, self.root),
            "check its name, or install the package that it belongs to",
        )
        where = "src" if _holds(self.root / "src", missing) else "."
        if not _is_importable(missing.partition(".")[0]):
            remedy = f"if it is in this project, set `pythonpath = {where}` in pytest.ini; {remedy}"
        return SettingsError(
            f"the module {self.module!r} was not found.",
            why=f"{error}; the line is {self.line!r}",
            remedy=remedy,
        )

    def _no_attribute(self, value: object, name: str) -> SettingsError:
        valid = [found for found in dir(value) if _is_usable(value, found)]
        kind = getattr(value, "__name__", type(value).__name__)
        return SettingsError(
            f"{kind!r} has no attribute {name!r}.",
            why=f"the line is {self.line!r}",
            remedy=suggest(name, valid, f"name what is there in {self.module}"),
        )


def _is_usable(value: object, name: str) -> bool:
    # Without running properties, or a module's __getattr__.
    found = inspect.getattr_static(value, name, None)
    if hasattr(found, "metadata") or hasattr(found, "create_all") or not inspect.ismodule(value):
        return True
    return callable(found) and getattr(found, "__module__", None) == value.__name__


def _siblings(missing: str, root: Path) -> Iterable[str]:
    parent = missing.rpartition(".")[0]
    if parent:
        places = getattr(sys.modules.get(parent), "__path__", [])
    else:
        places = [str(root), str(root / "src")]
    return {module.name for module in pkgutil.iter_modules(places)}


def _holds(directory: Path, module: str) -> bool:
    name = module.partition(".")[0]
    return (directory / name).is_dir() or (directory / f"{name}.py").is_file()


def _is_importable(name: str) -> bool:
    return name in sys.modules or importlib.util.find_spec(name) is not None
