"""What schema and seeds ask of the kind of database that they work on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, NoReturn

from pytest_berth.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    import sqlalchemy

    from pytest_berth.schema.steps import Target
    from pytest_berth.schema.table_rows import Table


class Dialect(ABC):
    """What Postgres and MySQL differ in.

    Attributes:
        prefix: What the settings begin with: ``berth_<prefix>_schema``.
        driver: The package whose connections functions may ask for, by an annotation.
        variables: The environment variables by which programs find the database, in words.
        commits: How a test is marked that may commit.
        backends: What URLs of SQLAlchemy for it begin with; drivers' modules by their names in
            such URLs, where these differ.
        identity: A query whose row is the same for one database of one server only.
    """

    prefix: ClassVar[str]
    driver: ClassVar[str]
    variables: ClassVar[str]
    commits: ClassVar[str]
    backends: ClassVar[tuple[str, ...]]
    modules: ClassVar[Mapping[str, str]] = {}
    identity: ClassVar[str]

    @abstractmethod
    def has_sqlalchemy(self) -> bool:
        """Tell whether SQLAlchemy is installed."""

    @abstractmethod
    def require_sqlalchemy(self, needed_by: str, *, instead: str = "") -> None:
        """Look whether SQLAlchemy is there, and fits.

        Args:
            needed_by: What needs it: a line.
            instead: What can be done in its place.

        Raises:
            MissingExtraError: It is not installed.
            PackageError: It is too old, or its driver is missing.
        """

    @abstractmethod
    def scheme(self) -> str:
        """Return what URLs of SQLAlchemy begin with, the driver included."""

    @abstractmethod
    def connect(self, target: Target) -> AbstractContextManager[object]:
        """Open a connection of the driver's; what was done on it is committed at its end."""

    @abstractmethod
    def remedy(self, error: BaseException) -> str:
        """Return what would mend an error of the server, where that is known."""

    @abstractmethod
    def check_file(self, path: Path, root: Path) -> None:
        """Look whether an SQL file can be sent.

        Raises:
            SettingsError: A program that it needs is not there.
        """

    @abstractmethod
    def stands_alone(self, path: Path, root: Path) -> bool:
        """Tell whether what an SQL file does depends on nothing but its text."""

    @abstractmethod
    def send_file(self, path: Path, target: Target) -> None:
        """Send an SQL file for good.

        Raises:
            SchemaError: A statement failed.
        """

    @abstractmethod
    def send_file_in(
        self, path: Path, root: Path, line: str, connection: sqlalchemy.Connection
    ) -> None:
        """Send an SQL file inside the open transaction of *connection*.

        Raises:
            SchemaError: A statement failed.
            SettingsError: It cannot work inside a transaction that is rolled back.
        """

    @abstractmethod
    def write_rows(self, rows: Sequence[Table], target: Target) -> None:
        """Write rows for good, all in one transaction.

        Raises:
            SchemaError: There is no such table or column, or the server refuses a value.
        """

    @abstractmethod
    def write_rows_in(
        self, line: str, rows: Sequence[Table], connection: sqlalchemy.Connection
    ) -> None:
        """Write rows inside the open transaction of *connection*.

        Raises:
            SchemaError: There is no such table or column, or the server refuses a value.
            SettingsError: It cannot be done inside a transaction that is rolled back.
        """

    def refuse_transaction(self, line: str, why: str) -> NoReturn:
        """Tell that a seed cannot be rolled back together with its test."""
        raise SettingsError(
            f"the seed {line!r} cannot work inside the transaction of a test.",
            why=why,
            remedy=f"move the line to berth_{self.prefix}_seed, or mark the test with"
            f" {self.commits}",
        )
