"""What steps of schema and seeds ask of MySQL and MariaDB."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_berth.compat import sqlalchemy_private
from pytest_berth.errors import MissingExtraError, PackageError
from pytest_berth.schema.dialect import Dialect
from pytest_berth.services.mysql import urls

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import pymysql
    import sqlalchemy

    from pytest_berth.schema.steps import Target
    from pytest_berth.schema.table_rows import Table

_TWO = (2, 0)


class MySQLDialect(Dialect):
    """What MySQL and MariaDB have that other databases have not."""

    prefix = "mysql"
    driver = "pymysql"
    variables = ", ".join(urls.VARIABLES)
    commits = '@pytest.mark.berth_mysql(isolation="truncation")'
    backends = ("mysql", "mariadb")
    modules: ClassVar[Mapping[str, str]] = {"mysqldb": "MySQLdb"}
    # The last one is the token, on a server that berth has started.
    identity = "SELECT DATABASE(), @@hostname, @@port, @@datadir, @@report_host"

    def has_sqlalchemy(self) -> bool:
        """Tell whether SQLAlchemy is installed."""
        return bool(sqlalchemy_private.version())

    def require_sqlalchemy(self, needed_by: str, *, instead: str = "") -> None:
        """Look whether SQLAlchemy is there, and fits."""
        found = sqlalchemy_private.version()
        if not found:
            raise MissingExtraError("sqlalchemy", "mysql", needed_by=needed_by)
        if found < _TWO:
            raise PackageError(
                f"{needed_by} needs SQLAlchemy {'.'.join(map(str, _TWO))} or newer.",
                why=f"SQLAlchemy {'.'.join(map(str, found))} is installed",
                remedy="; ".join(filter(None, ['pip install "sqlalchemy>=2"', instead])),
            )

    def scheme(self) -> str:
        """Return what URLs of SQLAlchemy begin with, the driver included."""
        return f"mysql+{urls.DRIVER}"

    @contextmanager
    def connect(self, target: Target) -> Iterator[pymysql.Connection[Any]]:
        """Open a connection of PyMySQL's; what was done on it is committed at its end."""
        import pymysql

        from pytest_berth.services.mysql import connections

        place = connections.parameters(*urls.of_database(target.dsn))
        with pymysql.connect(**place) as connection:
            yield connection
            connection.commit()

    def remedy(self, error: BaseException) -> str:
        """Return nothing: the server's messages say it."""
        return ""

    def check_file(self, path: Path, root: Path) -> None:
        """Look at nothing more: files need no program."""

    def stands_alone(self, path: Path, root: Path) -> bool:
        """Tell that a file depends on its text only: lines of the client's are not heeded."""
        return True

    def send_file(self, path: Path, target: Target) -> None:
        """Send a file, by the delimiters that it sets."""
        from pytest_berth.services.mysql.schema import sql_file

        sql_file.send(path, target)

    def send_file_in(
        self, path: Path, root: Path, line: str, connection: sqlalchemy.Connection
    ) -> None:
        """Refuse: DDL commits, and files are sent on a connection of their own."""
        self.refuse_transaction(line, "SQL files are sent on a connection of their own")

    def write_rows(self, rows: Sequence[Table], target: Target) -> None:
        """Write rows on a connection of their own, and commit them."""
        from pytest_berth.services.mysql.schema import load_rows

        load_rows.load(rows, target)

    def write_rows_in(
        self, line: str, rows: Sequence[Table], connection: sqlalchemy.Connection
    ) -> None:
        """Refuse: seeds of a test are committed before it, and gone after it."""
        self.refuse_transaction(line, "rows are written on a connection of their own")


MYSQL_DIALECT = MySQLDialect()
