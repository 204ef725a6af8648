"""``django: default``: all migrations of a Django project for one of its databases.

They run in a process of their own, as in the suite's process Django's connections are the tests'.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pytest_berth.errors import SchemaError, SettingsError
from pytest_berth.schema import django_fingerprint, run_django, run_program
from pytest_berth.schema.steps import tail

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy

    from pytest_berth.schema.dialect import Dialect
    from pytest_berth.schema.steps import Target

NO_MIGRATIONS = "--no-migrations"


@dataclass(frozen=True)
class DjangoMigrations:
    """What ``manage.py migrate`` makes of an alias, tables of apps without migrations included.

    Attributes:
        alias: A name in ``DATABASES``.
        migrates: Whether migrations are used; else all tables are made as the models are now.
        root: The ini file's directory.
    """

    line: str
    alias: str
    migrates: bool
    root: Path
    dialect: Dialect
    calls_suite: ClassVar[bool] = False
    tables: ClassVar[tuple[str, ...]] = ()

    def fingerprint(self) -> str | None:
        """Return the fingerprint of the migrations of all apps; none before Django is set up."""
        return django_fingerprint.of(self.alias, migrates=self.migrates)

    def check(self) -> None:
        """Look for Django, and for what names its settings."""
        from importlib.util import find_spec

        if find_spec("django") is None:
            raise SettingsError(
                f"{self.line!r} needs the package 'django', which is not installed.",
                why=f"it is not installed for {sys.executable}",
                remedy="pip install django",
            )
        if not os.environ.get(run_django.SETTINGS_MODULE):
            raise no_settings_module(f"the line {self.line!r}")

    def run(self, target: Target) -> None:
        """Migrate, in a process of its own."""
        task = {
            "alias": self.alias,
            "migrates": self.migrates,
            "dsn": target.dsn,
            "path": [*filter(None, sys.path)],
        }
        # Every user of the machine can read a command line, but only the owner an environment.
        environment = target.variables() | {run_django.TASK: json.dumps(task)}
        command = [sys.executable, "-u", run_django.__file__]
        done = run_program.run(command, self.root, environment)
        if done.code == run_django.UNKNOWN_ALIAS:
            raise SettingsError(
                f"the line {self.line!r} names no database of the Django project.",
                why=tail(done.output, 1),
                remedy="write one of these aliases",
            )
        if done.code != 0:
            raise SchemaError(
                f"{self.line!r} failed: migrate {done.how}.",
                why=tail(target.redact(done.output)) or "it printed nothing",
            )

    def run_in(self, connection: sqlalchemy.Connection) -> None:
        """Refuse: another process has a connection, and a transaction, of its own."""
        self.dialect.refuse_transaction(self.line, "Django works through a connection of its own")


def parse(line: str, rest: str, root: Path, dialect: Dialect) -> DjangoMigrations:
    """Return the step of a line.

    Args:
        line: The line.
        rest: What comes after the colon: an alias, and perhaps a flag.
        root: The ini file's directory.
        dialect: The kind of database.

    Raises:
        SettingsError: There is more than that.
    """
    alias, *flags = rest.split()
    if flags not in ([], [NO_MIGRATIONS]):
        raise SettingsError(
            f"the line {line!r} has more than an alias of DATABASES.",
            why=f"after the alias comes {' '.join(flags)!r}",
            remedy=f"write for example: django: default, or django: default {NO_MIGRATIONS}",
        )
    return DjangoMigrations(line, alias, not flags, root, dialect)


def no_settings_module(what: str) -> SettingsError:
    """Return the error that nothing names the settings of the Django project.

    Args:
        what: What needs them.
    """
    return SettingsError(
        f"{what} needs DJANGO_SETTINGS_MODULE, which is not set.",
        why="migrations run in a process of their own, which settings.configure() does not reach",
        remedy=f"{run_django.SETTINGS_MODULE} = mysite.settings\nin the ini file, or in the"
        " environment",
    )
