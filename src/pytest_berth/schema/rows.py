"""Rows as seeds: ``seed/*.csv``, ``seed/users.json``, ``seed/all.yaml``, and mappings of a marker.

A file names the table: ``users.csv``, ``billing.invoices.csv``. What a value becomes is told by the
type of its column, and by the server.
"""

from __future__ import annotations

import csv
import glob
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_berth.errors import MissingExtraError, SettingsError
from pytest_berth.schema import fingerprint
from pytest_berth.schema.steps import ROWS_SUFFIXES, suggest
from pytest_berth.schema.table_rows import Table, as_json

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy

    from pytest_berth.schema.dialect import Dialect
    from pytest_berth.schema.steps import Target

_SHAPE = (
    "write a list of rows, each a mapping from columns to values, or a mapping from tables to"
    " such lists"
)


@dataclass(frozen=True)
class RowFiles:
    """The rows of a file, or of those that a glob matches, in the order of foreign keys."""

    line: str
    pattern: str
    root: Path
    dialect: Dialect
    calls_suite: ClassVar[bool] = False
    tables: ClassVar[tuple[str, ...]] = ()

    def fingerprint(self) -> str:
        """Return the fingerprint of the files."""
        return fingerprint.files(self.files(), self.root)

    def check(self) -> None:
        """Look whether there are files, and whether they can be read."""
        self._rows()

    def run(self, target: Target) -> None:
        """Write the rows, all in one transaction."""
        self.dialect.write_rows(self._rows(), target)

    def run_in(self, connection: sqlalchemy.Connection) -> None:
        """Write the rows inside a transaction."""
        self.dialect.write_rows_in(self.line, self._rows(), connection)

    def files(self) -> list[Path]:
        """Return the files.

        Raises:
            SettingsError: There is none.
        """
        # Unlike Path.glob(), it takes absolute patterns, too.
        found = glob.glob(self.pattern, root_dir=self.root, recursive=True)  # noqa: PTH207
        files = [self.root / name for name in sorted(found) if (self.root / name).is_file()]
        if files:
            return files
        literal = self.root / self.pattern
        there = [path.name for path in literal.parent.glob("*") if path.suffix in ROWS_SUFFIXES]
        raise SettingsError(
            f"no file of rows matches {self.line!r}.",
            why=f"it is looked for in {self.root}",
            remedy=suggest(literal.name, there, "write it relative to the ini file's directory"),
        )

    def _rows(self) -> list[Table]:
        return [table for path in self.files() for table in _read(path, self.root)]


@dataclass(frozen=True)
class GivenRows:
    """Rows that a marker or a fixture gives: ``{"users": [{"email": "ada@example.com"}]}``."""

    given: Mapping[str, object] = field(repr=False)
    dialect: Dialect
    calls_suite: ClassVar[bool] = False
    tables: ClassVar[tuple[str, ...]] = ()

    @property
    def line(self) -> str:
        """How messages call it."""
        return f"rows of {', '.join(map(str, self.given))}"

    def fingerprint(self) -> str:
        """Return the fingerprint of the rows."""
        return fingerprint.digest([as_json(dict(self.given))])

    def check(self) -> None:
        """Look whether these are rows."""
        self._rows()

    def run(self, target: Target) -> None:
        """Write the rows, all in one transaction."""
        self.dialect.write_rows(self._rows(), target)

    def run_in(self, connection: sqlalchemy.Connection) -> None:
        """Write the rows inside a transaction."""
        self.dialect.write_rows_in(self.line, self._rows(), connection)

    def _rows(self) -> list[Table]:
        return _tables(self.line, self.given, "")


def _read(path: Path, root: Path) -> list[Table]:
    name = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    if path.suffix.lower() == ".csv":
        return [Table(name, path.stem, _header(path, name), path=path)]
    try:
        content = path.read_text("utf-8-sig")
        if path.suffix.lower() == ".json":
            return _tables(name, json.loads(content), path.stem)
        return _tables(name, _yaml(content, name), path.stem)
    except ValueError as error:
        raise SettingsError(f"{name} cannot be read.", why=str(error)) from error


def _yaml(content: str, name: str) -> object:
    try:
        import yaml
    except ImportError:
        raise MissingExtraError("pyyaml", "", needed_by=name) from None
    try:
        return yaml.safe_load(content)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


def _header(path: Path, name: str) -> tuple[str, ...]:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        header = next(csv.reader(file), [])
    if not header or not all(header):
        raise SettingsError(
            f"{name} has no header.",
            why="its first line names the columns that its values are for",
            remedy="write for example: id,email,name",
        )
    return tuple(header)


def _tables(name: str, content: object, stem: str) -> list[Table]:
    """Return what a file's content, or a marker's, has for each table."""
    by_table: Any = {stem: content} if stem and isinstance(content, list) else content
    if not isinstance(by_table, Mapping):
        raise _no_rows(name, f"it is {type(content).__name__}")
    for table, rows in by_table.items():
        wrong = [] if isinstance(rows, (list, tuple)) else [rows]
        wrong += [each for each in rows if not isinstance(each, Mapping)] if not wrong else []
        if wrong:
            raise _no_rows(name, f"what it has for {table!r} is {type(wrong[0]).__name__}")
    return [
        Table(name, str(table), tuple({column: None for row in rows for column in row}), rows=rows)
        for table, rows in by_table.items()
        if rows
    ]


def _no_rows(name: str, why: str) -> SettingsError:
    return SettingsError(f"{name} has no rows.", why=why, remedy=_SHAPE)
