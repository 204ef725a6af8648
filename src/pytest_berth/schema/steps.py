"""Defines what a line of the schema or of the seeds becomes, and what it works on."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from pytest_berth.errors import nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    import sqlalchemy

FORMS = """\
package.module:Base.metadata   a MetaData, or a function that takes a connection
path/to/*.sql                  SQL files, relative to the ini file's directory
path/to/*.csv (.json, .yaml)   files of rows, each called as its table
alembic: alembic.ini           all migrations
django: default                all migrations of a Django project, for one of its databases
command: flyway migrate        a program, without a shell
command in backend: ...        the same, in another directory"""
ROWS_SUFFIXES = (".csv", ".json", ".yaml", ".yml")
# Of the files that lead Alembic to its migrations.
ALEMBIC_SUFFIXES = {".ini", ".toml", ".cfg"}


@dataclass(frozen=True)
class Target:
    """The database that steps work on.

    Attributes:
        url: SQLAlchemy URL, with password.
        dsn: The same for clients that know no drivers of SQLAlchemy's, with password.
        environment: Variables for programs: what ``berth_export`` sets, and those of clients.
        root: Directory that paths are relative to, and where programs run.
        secrets: Texts that no message may show.
        inherited: What programs inherit: this process's environment, as it was at the beginning of
            the tests where these run meanwhile.
        foreign: Variables that lead to other servers, and are not inherited.
    """

    url: str = field(repr=False)
    dsn: str = field(repr=False)
    environment: Mapping[str, str] = field(repr=False)
    root: Path
    secrets: tuple[str, ...] = field(default=(), repr=False)
    inherited: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    foreign: Collection[str] = ()

    def variables(self) -> dict[str, str]:
        """Return the whole environment of a program that works on this database."""
        inherited = self.inherited.items()
        kept = {name: value for name, value in inherited if name not in self.foreign}
        return {**kept, **self.environment}

    def redact(self, text: str) -> str:
        """Return *text* with ``***`` in place of every secret, also where it is URL-quoted."""
        forms = {form for secret in self.secrets for form in (secret, quote(secret, safe=""))}
        longest_first = sorted(filter(None, forms), key=len, reverse=True)
        if not longest_first:
            return text
        return re.sub("|".join(map(re.escape, longest_first)), "***", text)


class Step(Protocol):
    """A piece of a schema, or a seed.

    Attributes:
        line: As the user wrote it.
        calls_suite: Whether it calls code of the suite in this process: it must then not run
            beside tests, which may have replaced parts of that code.
        tables: Names of the tables that it will make, where it knows them; imports may add some.
    """

    @property
    def line(self) -> str:
        """As the user wrote it."""

    @property
    def calls_suite(self) -> bool:
        """Whether it calls code of the suite in this process."""

    @property
    def tables(self) -> Collection[str]:
        """Names of the tables that it will make, where it knows them."""

    def fingerprint(self) -> str | None:
        """Return what its result depends on, as text; None where that cannot be known."""

    def check(self) -> None:
        """Look whether it can work at all, without a server.

        Raises:
            SettingsError: A module, attribute, file or program is not there.
        """

    def run(self, target: Target) -> None:
        """Do the work for good; no connection to the target stays open.

        Raises:
            SchemaError: It failed.
        """

    def run_in(self, connection: sqlalchemy.Connection) -> None:
        """Do the work inside the open transaction of *connection*.

        Raises:
            SchemaError: It failed.
            SettingsError: It cannot work inside a transaction that is rolled back.
        """


def suggest(name: str, valid: Iterable[str], otherwise: str) -> str:
    """Return a hint at what is there instead of *name*; *otherwise* when nothing is."""
    names = [found for found in valid if not found.startswith("_")]
    # A list of more names than fit on a few lines helps nobody: then only a near one is named.
    hint = nearest(name, names) if names else ""
    if not hint or (len(names) > 20 and not hint.startswith("did you mean")):
        return otherwise
    return hint


def tail(text: str, lines: int = 60) -> str:
    """Return the last lines of a program's output."""
    kept = text.rstrip().splitlines()
    left_out = len(kept) - lines
    if left_out <= 0:
        return "\n".join(kept)
    return "\n".join([f"... ({left_out} lines before)", *kept[-lines:]])
