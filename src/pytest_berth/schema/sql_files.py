"""Sends files whole, so that nothing has to split them: ``path/to/*.sql``."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pytest_berth.errors import SettingsError
from pytest_berth.schema import fingerprint
from pytest_berth.schema.steps import suggest

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy

    from pytest_berth.schema.dialect import Dialect
    from pytest_berth.schema.steps import Target


@dataclass(frozen=True)
class SqlFiles:
    """A file, or what a glob matches, in sorted order."""

    line: str
    pattern: str
    root: Path
    dialect: Dialect
    calls_suite: ClassVar[bool] = False
    tables: ClassVar[tuple[str, ...]] = ()

    def fingerprint(self) -> str | None:
        """Return the fingerprint of the files; none where one may read others, or run programs."""
        files = self.files()
        if not all(self.dialect.stands_alone(path, self.root) for path in files):
            return None
        return fingerprint.files(files, self.root)

    def check(self) -> None:
        """Look whether there is a file, and what one needs to be sent."""
        for path in self.files():
            self.dialect.check_file(path, self.root)

    def run(self, target: Target) -> None:
        """Send each file."""
        for path in self.files():
            self.dialect.send_file(path, target)

    def run_in(self, connection: sqlalchemy.Connection) -> None:
        """Send each file inside a transaction."""
        for path in self.files():
            self.dialect.send_file_in(path, self.root, self.line, connection)

    def files(self) -> list[Path]:
        """Return the files.

        Raises:
            SettingsError: There is none.
        """
        literal = self.root / self.pattern
        if literal.is_file():
            return [literal]
        # Unlike Path.glob(), it takes absolute patterns, too.
        found = glob.glob(self.pattern, root_dir=self.root, recursive=True)  # noqa: PTH207
        files = [self.root / name for name in sorted(found) if (self.root / name).is_file()]
        if not files:
            raise self._nothing(literal)
        return files

    def _nothing(self, literal: Path) -> SettingsError:
        there = [path.name for path in literal.parent.glob("*.sql")]
        return SettingsError(
            f"no file matches {self.line!r}.",
            why=f"it is looked for in {self.root}",
            remedy=suggest(literal.name, there, "write it relative to the ini file's directory"),
        )
