"""A temporary server, and for each test a project with an empty database."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import pytest
import sqlalchemy as sa
from psycopg import sql

import temporary
from pytest_berth.errors import SchemaError
from pytest_berth.services.postgres.schema import Target, parse
from pytest_berth.sources import ports
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PASSWORD = "p@ss/w%rd"
NAMES = count()


@dataclass(frozen=True)
class Postgres:
    """A server of these tests."""

    binaries: Path
    port: int

    def dsn(self, database: str) -> str:
        """Return the libpq URI of a database."""
        return f"postgresql://postgres:{quote(PASSWORD, safe='')}@127.0.0.1:{self.port}/{database}"

    def execute(self, statement: sql.Composed) -> bool:
        """Run a statement in the administrator's database; it also tells when one can connect."""
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            return bool(connection.execute(statement))


def binaries() -> Path:
    """Return the directory of PostgreSQL's programs; skip where there is none."""
    named = os.environ.get("BERTH_TEST_PG_BIN")
    found = (
        [named]
        if named
        else sorted(map(str, Path("/").glob("usr/lib/postgresql/*/bin")), reverse=True)
    )
    if not found:
        pytest.skip("no PostgreSQL here: set BERTH_TEST_PG_BIN to the directory of its programs")
    return Path(found[0])


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Start a server for the tests of schemas."""
    programs = binaries()
    with temporary.home() as home:
        account: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(home, "nobody")
            account = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        (home / "password").write_text(PASSWORD)
        (home / "password").chmod(0o644)
        options = ["-A", "scram-sha-256", "-U", "postgres", "--pwfile", str(home / "password")]
        subprocess.run(
            [
                str(programs / "initdb"),
                "-D",
                str(home / "data"),
                "-N",
                "-E",
                "UTF8",
                "--locale=C",
                *options,
            ],
            check=True,
            capture_output=True,
            cwd=home,
            **account,
        )
        # Not one that the system may give to a connection meanwhile.
        reserved = ports.reserve()
        port = reserved.port
        settings = {"port": port, "unix_socket_directories": home, "fsync": "off"}
        process = subprocess.Popen(
            [str(programs / "postgres"), "-D", str(home / "data")]
            + [f"--{key}={value}" for key, value in settings.items()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=home,
            **account,
        )
        server = Postgres(programs, port)
        try:
            wait_for(
                lambda: server.execute(sql.SQL("SELECT 1").format()),
                timeout=60,
                ignore=psycopg.OperationalError,
            )
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # whoever is connected still
            wait_for(lambda: process.poll() is not None, timeout=60)
            reserved.lock.release()


@dataclass(frozen=True)
class Project:
    """A directory with a project's files, and the database that its schema goes to."""

    target: Target

    @property
    def root(self) -> Path:
        """Return the directory."""
        return self.target.root

    def write(self, name: str, text: str) -> None:
        """Write a file of the project."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def run(self, item: object, *, check_drift: bool = False) -> None:
        """Parse, check and run *item*."""
        for step in parse(item, self.root, check_drift=check_drift):
            step.check()
            step.run(self.target)

    def failure(self, item: object, *, check_drift: bool = False) -> str:
        """Return the message of the error of *item*."""
        with pytest.raises(SchemaError) as caught:
            self.run(item, check_drift=check_drift)
        message = str(caught.value)
        assert PASSWORD not in message
        assert quote(PASSWORD, safe="") not in message
        return message

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query on the database."""
        with psycopg.connect(self.target.dsn) as connection:
            return connection.execute(statement.encode()).fetchall()

    def tables(self) -> list[str]:
        """Return the names of the tables in the schema ``public``."""
        rows = self.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
        return [name for (name,) in rows]


@pytest.fixture
def project(postgres: Postgres, tmp_path: Path) -> Iterator[Project]:
    """Give an empty database, dropped afterwards without force: nobody may still be connected."""
    name = f"schema_{next(NAMES)}"
    postgres.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    dsn = postgres.dsn(name)
    url = dsn.replace("postgresql:", "postgresql+psycopg:")
    environment = {
        "DATABASE_URL": url,
        "PGHOST": "127.0.0.1",
        "PGPORT": str(postgres.port),
        "PGUSER": "postgres",
        "PGPASSWORD": PASSWORD,
        "PGDATABASE": name,
    }
    yield Project(Target(url, dsn, environment, tmp_path, (PASSWORD,)))
    drop = sql.SQL("DROP DATABASE {}").format(sql.Identifier(name))
    wait_for(lambda: postgres.execute(drop), timeout=60, ignore=psycopg.errors.ObjectInUse)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Give a function that writes the module ``seeds_here``."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(text: str) -> None:
        (tmp_path / "seeds_here.py").write_text(textwrap.dedent(text))

    yield write
    sys.modules.pop("seeds_here", None)


@pytest.fixture
def connection(project: Project) -> Iterator[sa.Connection]:
    """Give a connection in an open transaction, as a test's is."""
    engine = sa.create_engine(project.target.url, poolclass=sa.NullPool)
    with engine.connect() as connection, connection.begin():
        yield connection
