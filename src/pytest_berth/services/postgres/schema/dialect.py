"""What steps of schema and seeds ask of Postgres."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_berth.errors import SettingsError
from pytest_berth.schema.dialect import Dialect
from pytest_berth.services.postgres import sqlalchemy_compat
from pytest_berth.services.postgres.advice import COMMITS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import psycopg
    import sqlalchemy

    from pytest_berth.schema.steps import Target
    from pytest_berth.schema.table_rows import Table
    from pytest_berth.services.postgres.schema.sql_script import Script

_BY_EXTENSION = (
    "if an extension brings it, create the extension in a line before it, such as a "
    ".sql file with CREATE EXTENSION IF NOT EXISTS ..."
)
# By SQLSTATE: what a server says when something is missing that models do not create.
MISSING = {
    "3F000": "create the schema in a line before it, such as a .sql file with "
    "CREATE SCHEMA IF NOT EXISTS ...",
    "42704": _BY_EXTENSION,
    "42883": _BY_EXTENSION,
}


class Postgres(Dialect):
    """What Postgres has that other databases have not."""

    prefix = "pg"
    driver = "psycopg"
    variables = "PGHOST, PGPORT, PGUSER, PGPASSWORD, PGDATABASE"
    commits = COMMITS
    backends = ("postgresql",)
    # A server's start in microseconds and a database's name: the same for one place only.
    identity = "SELECT current_database(), extract(epoch FROM pg_postmaster_start_time())::text"

    def has_sqlalchemy(self) -> bool:
        """Tell whether SQLAlchemy is installed."""
        return bool(sqlalchemy_compat.version())

    def require_sqlalchemy(self, needed_by: str, *, instead: str = "") -> None:
        """Look whether SQLAlchemy is there, and fits."""
        if instead:
            sqlalchemy_compat.require(needed_by, instead=instead)
        else:
            sqlalchemy_compat.require(needed_by)

    def scheme(self) -> str:
        """Return what URLs of SQLAlchemy begin with, the driver included."""
        return f"postgresql+{sqlalchemy_compat.driver()}"

    @contextmanager
    def connect(self, target: Target) -> Iterator[psycopg.Connection[Any]]:
        """Open a connection of psycopg's; what was done on it is committed at its end."""
        import psycopg

        with psycopg.connect(target.dsn) as connection:
            yield connection

    def remedy(self, error: BaseException) -> str:
        """Return what would mend an error of the server, where that is known."""
        return MISSING.get(getattr(error, "sqlstate", None) or "", "")

    def check_file(self, path: Path, root: Path) -> None:
        """Look for psql where an SQL file needs it; refuse one that goes to another database."""
        from pytest_berth.services.postgres.schema import psql

        script = _read(path, root)
        line = script.connection_line
        if line:
            raise SettingsError(
                f"{script.name}:{line} connects to another database.",
                why=r"a \connect would take the rest of the file away from the test database",
                remedy="dump one database without its creation: pg_dump, without --create (-C), in"
                " place of pg_dumpall",
            )
        if script.needs_psql:
            psql.program(script.name)

    def stands_alone(self, path: Path, root: Path) -> bool:
        """Tell whether it needs no psql, which may read other files, or run programs."""
        return not _read(path, root).needs_psql

    def send_file(self, path: Path, target: Target) -> None:
        """Send a file whole, so that nothing has to split it, or let psql do it."""
        from pytest_berth.services.postgres.schema import psql, send_sql

        script = _read(path, target.root)
        if script.needs_psql:
            psql.run(path, script.name, target)
        else:
            send_sql.send_alone(script, target)

    def send_file_in(
        self, path: Path, root: Path, line: str, connection: sqlalchemy.Connection
    ) -> None:
        """Send a file inside a transaction."""
        from pytest_berth.services.postgres.schema import send_sql

        script = _read(path, root)
        if script.needs_psql:
            why = f"{script.name} needs psql: it has backslash lines"
            self.refuse_transaction(line, why)
        if script.controls_transactions:
            self.refuse_transaction(line, f"{script.name} begins or ends transactions itself")
        if len(script.passages) > 1 and not send_sql.is_psycopgs(connection):
            why = "psycopg 3 sends rows for COPY; SQLAlchemy 1.4 has another driver"
            self.refuse_transaction(line, why)
        send_sql.send_inside(script, connection)

    def write_rows(self, rows: Sequence[Table], target: Target) -> None:
        """Write rows on a connection of their own, and commit them."""
        from pytest_berth.services.postgres.schema import load_rows

        load_rows.load_alone(rows, target)

    def write_rows_in(
        self, line: str, rows: Sequence[Table], connection: sqlalchemy.Connection
    ) -> None:
        """Write rows inside a transaction."""
        from pytest_berth.services.postgres.schema import load_rows, send_sql

        if not send_sql.is_psycopgs(connection):
            self.refuse_transaction(
                line, "psycopg 3 writes rows; SQLAlchemy 1.4 has another driver"
            )
        connection.exec_driver_sql("SELECT 1")  # psycopg's BEGIN comes with a first statement
        driver: Any = connection.connection.driver_connection
        load_rows.load(driver, rows)


def _read(path: Path, root: Path) -> Script:
    from pytest_berth.services.postgres.schema.sql_script import Script

    return Script.read(path, root)


POSTGRES = Postgres()
