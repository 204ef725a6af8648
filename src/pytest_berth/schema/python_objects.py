"""Python objects that make a schema: a MetaData, or a function that takes a connection."""

from __future__ import annotations

import inspect
import sys
import sysconfig
import traceback
import typing
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_berth.compat import sqlalchemy_private
from pytest_berth.debug_log import debug, ignoring
from pytest_berth.errors import BerthError, SchemaError, SettingsError
from pytest_berth.schema import fingerprint
from pytest_berth.schema.steps import FORMS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    import sqlalchemy

    from pytest_berth.schema.dialect import Dialect
    from pytest_berth.schema.steps import Step, Target

NOT_USERS = (Path(__file__).parents[1], Path(sysconfig.get_path("stdlib")))


@dataclass(frozen=True)
class Tables:
    """The tables of a MetaData."""

    line: str
    metadata: sqlalchemy.MetaData = field(repr=False)
    dialect: Dialect = field(repr=False)
    calls_suite: ClassVar[bool] = False

    @property
    def tables(self) -> Collection[str]:
        """Names of the tables that are known by now."""
        return tuple(self.metadata.tables)

    def fingerprint(self) -> str | None:
        """Return the fingerprint of the statements."""
        return fingerprint.metadata(self.metadata, self.dialect)

    def check(self) -> None:
        """Look at SQLAlchemy only: modules that are imported later may still add tables."""
        self.dialect.require_sqlalchemy(repr(self.line))

    def run(self, target: Target) -> None:
        """Create the tables."""
        with _explained(self.line, self.dialect, target), _connection(target) as connection:
            self._create(connection)

    def run_in(self, connection: sqlalchemy.Connection) -> None:
        """Create the tables inside a transaction."""
        with _explained(self.line, self.dialect):
            self._create(connection)

    def _create(self, connection: sqlalchemy.Connection) -> None:
        if not self.metadata.tables:
            raise SchemaError(
                f"{self.line!r} has no tables.",
                why="no module with models was imported before it was used",
                remedy="name the attribute in a module that imports all models, "
                "such as app.models:Base.metadata",
            )
        self.metadata.create_all(connection)


@dataclass(frozen=True)
class Function:
    """A function that is called with a connection."""

    line: str
    function: Callable[..., object] = field(repr=False)
    dialect: Dialect = field(repr=False)
    calls_suite: ClassVar[bool] = True
    tables: ClassVar[tuple[str, ...]] = ()

    def fingerprint(self) -> None:
        """Return nothing: it may call anything."""

    def check(self) -> None:
        """Look whether it can be called with one argument, and does its work when called."""
        if not self._takes_drivers:
            kind = f"{self.dialect.driver}.Connection"
            plain = f"or annotate the function's parameter with {kind}, to be given one"
            self.dialect.require_sqlalchemy(repr(self.line), instead=plain)
        if _is_lazy(self.function):
            raise SettingsError(
                f"{self.line!r} cannot be called for a schema or a seed.",
                why="it is async or has a yield, so that calling it does nothing",
                remedy="use a plain function that takes a sqlalchemy.Connection",
            )
        try:
            inspect.signature(self.function).bind(object())
        except TypeError as error:
            raise SettingsError(
                f"{self.line!r} cannot be called with a connection.",
                why=f"its signature is {inspect.signature(self.function)}: {error}",
                remedy="let it take one argument, a sqlalchemy.Connection",
            ) from error
        except ValueError as error:
            debug("some callables written in C do not tell their signature: %s", error)

    def run(self, target: Target) -> None:
        """Call the function; what it did is committed."""
        connect = self.dialect.connect if self._takes_drivers else _connection
        with _explained(self.line, self.dialect, target), connect(target) as connection:
            self.function(connection)

    def run_in(self, connection: sqlalchemy.Connection) -> None:
        """Call the function inside a transaction, which it must leave open."""
        before = connection.get_transaction()
        given = connection.connection.driver_connection if self._takes_drivers else connection
        with _explained(self.line, self.dialect):
            self.function(given)
        if before is not None and not before.is_active:
            raise SchemaError(
                f"{self.line!r} ended the transaction of the test.",
                why="it called commit() or rollback() on the connection that it was given",
                remedy=f"leave that to the caller, or mark the test with {self.dialect.commits}",
            )

    @property
    def _takes_drivers(self) -> bool:
        """Whether it takes a driver's connection: by its annotation, or for want of others."""
        named = f"{self.dialect.driver}."
        return not self.dialect.has_sqlalchemy() or _annotated(self.function).startswith(named)


def step_for(value: object, line: str, dialect: Dialect) -> Step | None:
    """Return the step for a MetaData, for what has one (a declarative base), or a callable."""
    # Where nobody has imported SQLAlchemy, there is no MetaData.
    known: Any = sys.modules.get("sqlalchemy")
    for candidate in (value, getattr(value, "metadata", None)) if known else ():
        if isinstance(candidate, known.MetaData):
            return Tables(line, candidate, dialect)
    return Function(line, value, dialect) if callable(value) else None


def name_of(value: object) -> str:
    """Return how messages call an object that a fixture gave."""
    name = getattr(value, "__qualname__", None)
    module = getattr(value, "__module__", None)
    return f"{module}:{name}" if name and module else repr(value)


def not_usable(line: str, value: object) -> SettingsError:
    """Return the error for an object that is no step."""
    return SettingsError(
        f"{line!r} cannot make a schema.",
        why=f"it is of type {type(value).__name__}",
        remedy=f"use one of:\n{FORMS}",
    )


def origin(error: BaseException, root: Path | None = None) -> str:
    """Return the user's innermost file and line that an error went through."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if _is_users(frame.filename)]
    if not own:
        return ""
    path = Path(own[-1].filename)
    if root and path.is_relative_to(root):
        path = path.relative_to(root)
    return f"{path}:{own[-1].lineno}, in {own[-1].name}"


def describe(error: BaseException, root: Path | None = None) -> str:
    """Return an error as one text: its type, its message, and where it came from."""
    message = str(getattr(error, "orig", None) or error)
    parts = [f"{type(error).__name__}: {message}".rstrip(": ").rstrip(), origin(error, root)]
    return "\n".join(filter(None, parts))


@contextmanager
def _connection(target: Target) -> Iterator[sqlalchemy.Connection]:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    # No pool: a template database that somebody is connected to cannot be cloned.
    engine = create_engine(target.url, poolclass=NullPool)
    try:
        with engine.connect() as connection, sqlalchemy_private.committing(connection):
            yield connection
    finally:
        engine.dispose()


def _annotated(function: Callable[..., object]) -> str:
    """Return how a function's first parameter is annotated, with the module's name."""
    first: Any = next(iter(getattr(function, "__annotations__", {}).values()), "")
    with ignoring(Exception, why="what is there for type checkers only stays a text"):
        first = next(iter(typing.get_type_hints(function).values()))
    found = getattr(first, "__origin__", first)
    if isinstance(found, str):
        return found
    return f"{getattr(found, '__module__', '')}.{getattr(found, '__qualname__', '')}"


@contextmanager
def _explained(line: str, dialect: Dialect, target: Target | None = None) -> Iterator[None]:
    try:
        yield
    except BerthError:
        raise
    except Exception as error:
        why = describe(error, target.root if target else None)
        raise SchemaError(
            f"{line!r} failed.",
            why=target.redact(why) if target else why,
            remedy=dialect.remedy(getattr(error, "orig", error)),
        ) from error


def _is_users(filename: str) -> bool:
    place = Path(filename)
    libraries = {"site-packages", "dist-packages"}.intersection(place.parts)
    return place.is_file() and not libraries and not any(map(place.is_relative_to, NOT_USERS))


def _is_lazy(function: Any) -> bool:
    called = getattr(function, "__call__", None)  # noqa: B004
    kinds = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    return any(kind(each) for kind in kinds for each in (function, called))
