"""Sends files whole, so that nothing has to split them: ``path/to/*.sql``."""

from __future__ import annotations

import glob
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pytest_berth.errors import SettingsError
from pytest_berth.services.postgres.schema import psql, send_sql, template_fingerprint
from pytest_berth.services.postgres.schema.sql_script import Script
from pytest_berth.services.postgres.schema.steps import refuse_transaction, suggest

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy

    from pytest_berth.services.postgres.schema.steps import Target


@dataclass(frozen=True)
class SqlFiles:
    """A file, or what a glob matches, in sorted order."""

    line: str
    pattern: str
    root: Path
    calls_suite: ClassVar[bool] = False
    tables: ClassVar[tuple[str, ...]] = ()

    def fingerprint(self) -> str | None:
        """Return the fingerprint of the files; none where psql may read others, or run programs."""
        if any(script.needs_psql for script in self._scripts()):
            return None
        return template_fingerprint.files(self.files(), self.root)

    def check(self) -> None:
        """Look whether there is a file, and psql where one needs it."""
        for script in self._scripts():
            if script.needs_psql:
                psql.program(script.name)

    def run(self, target: Target) -> None:
        """Send each file, or let psql do it."""
        for script in self._scripts():
            if script.needs_psql:
                psql.run(script.path, script.name, target)
            else:
                send_sql.send_alone(script, target)

    def run_in(self, connection: sqlalchemy.Connection) -> None:
        """Send each file inside a transaction."""
        for script in self._scripts():
            if script.needs_psql:
                refuse_transaction(self.line, f"{script.name} needs psql: COPY or backslash lines")
            if script.controls_transactions:
                refuse_transaction(self.line, f"{script.name} begins or ends transactions itself")
            send_sql.send_inside(script, connection)

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

    def _scripts(self) -> list[Script]:
        return [Script.read(path, self.root) for path in self.files()]

    def _nothing(self, literal: Path) -> SettingsError:
        there = [path.name for path in literal.parent.glob("*.sql")]
        return SettingsError(
            f"no file matches {self.line!r}.",
            why=f"it is looked for in {self.root}",
            remedy=suggest(literal.name, there, "write it relative to the ini file's directory"),
        )
