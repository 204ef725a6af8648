"""Schema and seeds: what the lines of ``berth_mysql_schema`` and ``berth_mysql_seed`` do."""

from __future__ import annotations

import re
from collections.abc import Sequence
from glob import glob
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_berth.errors import BerthError, SchemaError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.api import Server
    from pytest_berth.services.mysql.connections import Connection

_FORMS = """\
package.module:Base.metadata   a MetaData, or a function that takes a SQLAlchemy connection
path/to/*.sql                  SQL files, relative to the ini file's directory"""
_ATTRIBUTE = re.compile(r"(?P<module>[\w.]+)\s*:\s*(?P<path>[\w.]+)")
# The client's, not the server's: dumps change the delimiter around triggers and procedures.
_DELIMITER = re.compile(r"^\s*DELIMITER\s+(\S+)\s*$", re.IGNORECASE | re.MULTILINE)


class Step(NamedTuple):
    """A piece of a schema, or a seed.

    Attributes:
        line: As the user wrote it.
        files: The SQL files that are sent; none for what is called.
        value: A MetaData, or what is called with a connection.
    """

    line: str
    files: tuple[Path, ...] = ()
    value: Any = None

    @property
    def calls(self) -> bool:
        """Whether a function of the project is called."""
        return not self.files and not hasattr(self.value, "create_all")


def parse(item: object, root: Path) -> Iterator[Step]:
    """Yield the steps of a line, a path, a MetaData, a function, or a sequence of those.

    Raises:
        SettingsError: It is none of these, or what it names is not there.
    """
    if isinstance(item, str):
        yield _line(item.strip(), root)
    elif isinstance(item, Path):
        yield _files(str(item), root)
    elif isinstance(item, Sequence):
        for each in item:
            yield from parse(each, root)
    elif hasattr(item, "create_all") or callable(item):
        yield Step(getattr(item, "__qualname__", type(item).__name__), value=item)
    else:
        raise _unknown(repr(item), f"it is of the type {type(item).__name__}")


def run(steps: Sequence[Step], server: Server, database: str) -> None:
    """Do the work of steps, one after the other, in a database.

    Raises:
        SchemaError: One of them failed.
    """
    # At collection lines are only checked: the driver may be missing then.
    from pytest_berth.services.mysql import connections, urls

    for step in steps:
        try:
            if step.files:
                with connections.connected(server, database) as connection:
                    for path in step.files:
                        _send(connection, path)
            else:
                _call(step.value, urls.url(server, database))
        except BerthError:
            raise
        except Exception as error:
            raise SchemaError(
                f"the line {step.line!r} of the MySQL schema failed.",
                why=f"{type(error).__name__}: {error}",
            ) from error


def _call(value: Any, url: str) -> None:
    from sqlalchemy import create_engine

    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            if hasattr(value, "create_all"):
                value.create_all(connection)
            else:
                value(connection)
    finally:
        engine.dispose()


def _send(connection: Connection, path: Path) -> None:
    import pymysql

    for script in _scripts(path.read_text("utf-8-sig")):
        try:
            connection.send(script)
        except pymysql.Error as error:
            raise SchemaError(f"{path.name} failed: {error.args[-1]}", why=str(path)) from error


def _scripts(text: str) -> Iterator[str]:
    """Yield what can be sent at once: the statements of a file, by its delimiters."""
    parts = _DELIMITER.split(text)
    for delimiter, part in zip([";", *parts[1::2]], parts[::2], strict=True):
        for script in [part] if delimiter == ";" else part.split(delimiter):
            if script.strip():
                yield script


def _line(line: str, root: Path) -> Step:
    if line.lower().endswith(".sql"):
        return _files(line, root)
    named = _ATTRIBUTE.fullmatch(line)
    if not named:
        raise _unknown(repr(line), "it is neither module:attribute, nor does it end in .sql")
    try:
        value: Any = import_module(named["module"])
        for name in named["path"].split("."):
            value = getattr(value, name)
    except Exception as error:
        raise SettingsError(
            f"the line {line!r} of the MySQL schema names something that is not there.",
            why=f"{type(error).__name__}: {error}",
            remedy="check module and attribute; in a project without installation, set pythonpath",
        ) from error
    if not (hasattr(value, "create_all") or callable(value)):
        raise _unknown(repr(line), f"it is of the type {type(value).__name__}")
    return Step(line, value=value)


def _files(pattern: str, root: Path) -> Step:
    found = [root / name for name in sorted(glob(pattern, root_dir=root, recursive=True))]  # noqa: PTH207
    if not found:
        raise SettingsError(
            f"no file matches {pattern!r}.",
            why=f"it is looked for in {root}",
            remedy="write it relative to the ini file's directory",
        )
    return Step(pattern, tuple(found))


def _unknown(shown: str, why: str) -> SettingsError:
    what = f"the line {shown} is none that makes a schema."
    return SettingsError(what, why=why, remedy=f"use one of:\n{_FORMS}")
