"""``command: flyway migrate``, ``command in backend: ...``: a program that makes the schema."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from pytest_berth.errors import SchemaError, SettingsError
from pytest_berth.schema import run_program
from pytest_berth.schema.steps import tail

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import sqlalchemy

    from pytest_berth.schema.dialect import Dialect
    from pytest_berth.schema.steps import Target


@dataclass(frozen=True)
class Command:
    """A program that is run in a directory, with the target in its environment.

    Attributes:
        root: The directory: the ini file's, or one that is relative to it.
    """

    line: str
    words: tuple[str, ...]
    root: Path
    dialect: Dialect
    calls_suite: ClassVar[bool] = False
    tables: ClassVar[tuple[str, ...]] = ()

    def fingerprint(self) -> None:
        """Return nothing: a program may read anything."""

    def check(self) -> None:
        """Look for the directory, and for the program."""
        if not self.root.is_dir():
            raise SettingsError(
                f"the directory {str(self.root)!r} was not found.",
                why=f"the command of the line {self.line!r} is to run there",
                remedy="write it relative to the ini file's directory",
            )
        self._program(os.environ)

    def run(self, target: Target) -> None:
        """Run the program and wait for its end."""
        environment = target.variables()
        command = [self._program(environment), *self.words[1:]]
        environment["PATH"] = run_program.search_path(environment)
        try:
            done = run_program.run(command, self.root, environment)
        except OSError as error:
            raise SchemaError(f"{self.line!r} could not be run.", why=str(error)) from error
        if done.code != 0:
            self._fail(done, target)

    def run_in(self, connection: sqlalchemy.Connection) -> None:
        """Refuse: another process has a connection, and a transaction, of its own."""
        why = "a command works through a connection of its own"
        self.dialect.refuse_transaction(self.line, why)

    def _program(self, environment: Mapping[str, str]) -> str:
        program = self.words[0]
        found = run_program.find(program, self.root, environment)
        if found is None:
            raise SettingsError(
                f"the program {program!r} was not found.",
                why=f"it is the command of the line {self.line!r}; "
                f"PATH is {run_program.search_path(environment)}",
                remedy="install it, or write its path relative to the ini file's directory",
            )
        return found

    def _fail(self, done: run_program.Finished, target: Target) -> None:
        printed = tail(target.redact(done.output)) or "it printed nothing"
        raise SchemaError(
            f"{target.redact(self.line)!r} {done.how}.",
            why=printed,
            remedy=f"run it by hand in {self.root}: {target.redact(shlex.join(self.words))}\n"
            f"it is given the database as {self.dialect.variables}, and as the variables of"
            " berth_export",
        )
