"""``alembic: alembic.ini``: all migrations, in a process of their own.

In the suite's process, ``env.py`` would reconfigure logging, and leave the application's settings
cached with the template's URL.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, ClassVar

from pytest_berth.errors import SchemaError, SettingsError
from pytest_berth.schema import fingerprint, run_alembic, run_program
from pytest_berth.schema.steps import (
    ALEMBIC_SUFFIXES,
    suggest,
    tail,
)

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy

    from pytest_berth.schema.dialect import Dialect
    from pytest_berth.schema.steps import Target

USE_TARGET = (
    "let env.py take the URL from config.get_main_option('sqlalchemy.url'), or from an "
    "environment variable that berth sets:\n"
    "berth_export = DATABASE_URL = {{{prefix}_url}}"
)
WHAT = {
    run_alembic.ELSEWHERE: "does not migrate the test database: it connects to another one.",
    run_alembic.BEHIND: "did not bring the database to the heads of its migrations.",
    run_alembic.SILENT: "ran no migrations.",
    run_alembic.DRIFT: "and the models differ.",
}
REMEDY = {
    run_alembic.ELSEWHERE: USE_TARGET,
    run_alembic.BEHIND: "let env.py commit: with context.begin_transaction(): "
    "context.run_migrations()",
    run_alembic.SILENT: "let env.py call context.configure(connection=...) and "
    "context.run_migrations()",
    run_alembic.DRIFT: 'alembic revision --autogenerate -m "..."; or set '
    "berth_{prefix}_alembic_drift = ignore",
}


@dataclass(frozen=True)
class Alembic:
    """The migrations that an ``alembic.ini`` (or ``pyproject.toml``) leads to."""

    line: str
    path: str
    root: Path
    dialect: Dialect
    check_drift: bool = False
    calls_suite: ClassVar[bool] = False
    tables: ClassVar[tuple[str, ...]] = ()

    def fingerprint(self) -> str | None:
        """Return the fingerprint of all migrations; none where the models are compared, too."""
        return None if self.check_drift else fingerprint.migrations(self._file)

    def check(self) -> None:
        """Look for the file, and for Alembic."""
        if not self._file.is_file():
            there = [path.name for path in self._file.parent.glob("*") if _is_alembics(path)]
            raise SettingsError(
                f"{self.path!r} was not found.",
                why=f"it is looked for in {self.root}; the line is {self.line!r}",
                remedy=suggest(
                    self._file.name, there, "write it relative to the ini file's directory"
                ),
            )
        try:
            # Not find_spec(): a project's own directory "alembic" would be taken for the package.
            metadata.version("alembic")
        except metadata.PackageNotFoundError as error:
            raise SettingsError(
                f"{self.line!r} needs the package 'alembic', which is not installed.",
                why=f"it is not installed for {sys.executable}",
                remedy="pip install alembic",
            ) from error

        self.dialect.require_sqlalchemy(repr(self.line))

    def run(self, target: Target) -> None:
        """Upgrade to the heads, and look whether they arrived in the target."""
        self.check()
        task = {
            "url": target.url,
            "drift": self.check_drift,
            "path": [*filter(None, sys.path)],
            "backends": self.dialect.backends,
            "modules": dict(self.dialect.modules),
            "identity": self.dialect.identity,
        }
        # Every user of the machine can read a command line, but only the owner an environment.
        environment = target.variables() | {run_alembic.TASK: json.dumps(task)}
        command = [sys.executable, "-u", run_alembic.__file__, self._file.name]
        done = run_program.run(command, self._file.parent, environment)
        if done.code != 0:
            raise self._failure(done, target)

    def run_in(self, connection: sqlalchemy.Connection) -> None:
        """Refuse: another process has a connection, and a transaction, of its own."""
        self.dialect.refuse_transaction(self.line, "Alembic works through a connection of its own")

    @property
    def _file(self) -> Path:
        return self.root / self.path

    def _failure(self, done: run_program.Finished, target: Target) -> SchemaError:
        what = WHAT.get(done.code, f"failed: alembic upgrade heads {done.how}.")
        return SchemaError(
            f"{self.line!r} {what}",
            why=tail(target.redact(done.output)) or "it printed nothing",
            remedy=REMEDY.get(done.code, "").format(prefix=self.dialect.prefix),
        )


def _is_alembics(path: Path) -> bool:
    """Tell whether a file has a section for Alembic: pytest's own may be the only one there."""
    try:
        return path.suffix in ALEMBIC_SUFFIXES and b"alembic]" in path.read_bytes()
    except OSError:
        return False
