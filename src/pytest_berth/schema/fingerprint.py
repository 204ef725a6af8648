"""What schema and seeds depend on, as one text: where it is the same, so is what they make.

Files count by their contents, a MetaData by the statements that it compiles to. What a function or
a program does cannot be known, as it may import or read anything: there is no fingerprint then,
unless the setting ``berth_<prefix>_fingerprint`` names the files that it depends on.
"""

from __future__ import annotations

import glob
import hashlib
import sys
import warnings
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_berth.compat import sqlalchemy_private
from pytest_berth.debug_log import debug

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    import sqlalchemy

    from pytest_berth.schema.dialect import Dialect
    from pytest_berth.schema.steps import Step

_COMPILED = {"__pycache__"}


def of(steps: Sequence[Step], globs: Sequence[str], root: Path) -> str | None:
    """Return the fingerprint of schema and seeds, in hexadecimal digits.

    Args:
        steps: Schema and seeds, in their order.
        globs: The files that functions and programs depend on, relative to *root*.
        root: The ini file's directory.

    Returns:
        None where a step depends on what nobody has named.
    """
    parts = [files(_matching(globs, root), root)]
    for step in steps:
        found = step.fingerprint()
        if found is None and not globs:
            return None
        parts += [step.line, found or ""]
    return digest(parts)


def files(paths: Iterable[Path], root: Path) -> str:
    """Return the fingerprint of files: their names and contents."""
    parts = []
    for path in paths:
        name = path.relative_to(root) if path.is_relative_to(root) else path
        parts += [name.as_posix(), hashlib.sha256(path.read_bytes()).hexdigest()]
    return digest(parts)


def directory(place: Path) -> str:
    """Return the fingerprint of all files below a directory, but what Python compiles."""
    return files(_below([place]), place)


def metadata(tables: sqlalchemy.MetaData, dialect: Dialect) -> str | None:
    """Return the fingerprint of a MetaData: the statements that create it.

    Returns:
        None where functions of the suite take part in the creation.
    """
    from sqlalchemy import create_mock_engine
    from sqlalchemy.exc import SQLAlchemyError

    statements: list[str] = []

    def note(statement: Any, *parameters: object, **options: object) -> None:
        statements.append(str(statement.compile(dialect=engine.dialect)))

    if any(_calls_suite(listener) for listener in _listeners(tables)):
        return None
    engine = create_mock_engine(f"{dialect.scheme()}://", note)
    try:
        tables.create_all(engine, checkfirst=False)
    except (SQLAlchemyError, AttributeError) as error:
        debug("schema: a listener, or a type, wants a real connection: %s", error)
        return None
    return digest(statements)


def migrations(ini: Path) -> str | None:
    """Return the fingerprint of the migrations that an ``alembic.ini`` leads to.

    Returns:
        None where Alembic does not find them, or where they are set elsewhere.
    """
    if ini.suffix == ".toml":
        return None
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from alembic.util import CommandError

    try:
        with _aside():
            scripts = ScriptDirectory.from_config(Config(str(ini)))
    except CommandError as error:
        debug("schema: %s has no fingerprint: %s", ini, error)
        return None
    places = [Path(scripts.dir), *map(Path, scripts.version_locations or ())]
    return files([ini, *_below(places)], ini.parent)


def _below(places: Iterable[Path]) -> list[Path]:
    found = {path for place in places for path in place.rglob("*") if path.is_file()}
    return sorted(path for path in found if _COMPILED.isdisjoint(path.parts))


def _matching(globs: Sequence[str], root: Path) -> list[Path]:
    names = {
        name
        for pattern in globs
        # Unlike Path.glob(), it takes absolute patterns, too.
        for name in glob.glob(pattern, root_dir=root, recursive=True)  # noqa: PTH207
    }
    return sorted(root / name for name in names if (root / name).is_file())


def _listeners(tables: sqlalchemy.MetaData) -> Iterator[object]:
    for target in (tables, *tables.tables.values()):
        for event in ("before_create", "after_create"):
            yield from getattr(target.dispatch, event)


def _calls_suite(listener: object) -> bool:
    """Tell whether a listener is anything but a statement, or a type that creates itself."""
    from sqlalchemy import schema

    # Version 1.4 has another name for it, and its conditions are its own attributes.
    element = getattr(schema, "ExecutableDDLElement", None) or schema.DDLElement
    if isinstance(listener, element):
        condition = sqlalchemy_private.condition(listener)
        return bool(condition and condition.callable_)
    method: Any = listener.func if isinstance(listener, partial) else listener
    # A method of an Enum or the like; SQLAlchemy 2.0 wraps it, so that it can be pickled.
    owner = getattr(method, "__self__", None) or getattr(method, "target", None)
    return not type(owner).__module__.startswith("sqlalchemy.")


@contextmanager
def _aside() -> Iterator[None]:
    """Let Alembic look at its ini file without a trace: ``prepend_sys_path``, warnings."""
    before = sys.path[:]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.path[:] = before


def digest(parts: Iterable[str]) -> str:
    """Return the digest of texts, which tells also where one ends and the next begins."""
    found = hashlib.sha256()
    for part in parts:
        content = part.encode("utf-8", "surrogateescape")
        found.update(f"{len(content)}:".encode() + content)
    return found.hexdigest()
