"""A temporary server, and a database for each test: connections of plugin and application."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

import temporary
from pytest_berth.api import Progress
from pytest_berth.config.options import ARTIFACT_MIRROR
from pytest_berth.services.postgres import restore
from pytest_berth.services.postgres.restore.transactions import transaction
from pytest_berth.services.postgres.restore.write_back import in_one_message
from pytest_berth.services.postgres.server import binaries
from pytest_berth.sources.artifact_cache import cache_directory
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

LOCK_TIMEOUT = 0.3
Connection = psycopg.Connection[Any]

CONTENTS = """
SELECT c.oid::regclass::text, c.relkind::text, c.relispopulated
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'm', 'S') AND c.relpersistence <> 't'
AND n.nspname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1
"""


@pytest.fixture(scope="session")
def restore_server() -> Iterator[str]:
    """Yield the conninfo of a superuser on a temporary server."""
    with temporary_server() as dsn:
        yield dsn


@contextmanager
def temporary_server() -> Iterator[str]:
    """Start a server; yield the conninfo of its superuser."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if major := os.environ.get("BERTH_TESTS_POSTGRES"):
        found = [_binaries(major)]
    if not found:
        pytest.skip("no PostgreSQL in /usr/lib/postgresql; set BERTH_TESTS_POSTGRES")
    with temporary.home() as home, _serving(found[-1], home) as dsn:
        yield dsn


@contextmanager
def _serving(programs: Path, home: Path) -> Iterator[str]:
    account: dict[str, Any] = {"user": "nobody", "extra_groups": []} if os.getuid() == 0 else {}
    if account:
        shutil.chown(home, "nobody")
    initdb = [f"{programs}/initdb", "-D", f"{home}/data", "-U", "berth", "-A", "trust", "-N"]
    subprocess.run([*initdb, "-E", "UTF8"], check=True, capture_output=True, cwd=home, **account)
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": str(home),
        "fsync": "off",
        "autovacuum": "off",
        "max_prepared_transactions": "5",
        "wal_level": "logical",
    }
    command = [f"{programs}/postgres", "-D", f"{home}/data"]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    with Path(home, "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=home, **account)
    dsn = make_conninfo(host=str(home), user="berth", dbname="postgres")
    try:
        wait_for(lambda: _answers(dsn), 60, ignore=psycopg.OperationalError)
        yield dsn
    finally:
        server.send_signal(signal.SIGINT)  # whoever is connected still
        server.wait(60)


def _binaries(major: str) -> Path:
    """Return binaries that are installed here, or were fetched."""
    progress = Mock(spec=Progress)
    mirror = ARTIFACT_MIRROR.default
    return binaries.find(major, cache=cache_directory(), mirror=mirror, progress=progress).directory


def _answers(dsn: str) -> bool:
    psycopg.connect(dsn).close()
    return True


@dataclass
class Database:
    """A database: *berth* is the plugin's connection, *app* the application's.

    Attributes:
        in_one_message: Whether it is put back in one message where that is enough, as it is after
            a few tests; else always in several, as at first.
    """

    dsn: str
    berth: Connection
    app: Connection
    baseline: restore.Baseline | None = None
    watch: bool = True
    in_one_message: bool = True
    before: dict[str, Any] = field(default_factory=dict)
    others: list[Connection] = field(default_factory=list)

    def connect(self, *, autocommit: bool = False, **parameters: Any) -> Connection:
        """Open one more connection of the application."""
        parameters.setdefault("application_name", "shop")
        other = psycopg.connect(make_conninfo(self.dsn, **parameters), autocommit=autocommit)
        self.others.append(other)
        return other

    def capture(self, berth: Connection | None = None) -> restore.Baseline:
        """Capture the baseline, and remember the contents independently."""
        if berth:
            self.berth = berth
        self.baseline = restore.capture(self.berth, lock_timeout=LOCK_TIMEOUT, watch=self.watch)
        if self.in_one_message:
            self.baseline = with_function(self.berth, self.baseline)
        self.before = self.contents()
        return self.baseline

    def restore(self) -> restore.Restored:
        """Restore the baseline, and compare everything with what it was."""
        restored = self.restore_only()
        self.compare()
        return restored

    def restore_only(self) -> restore.Restored:
        """Restore the baseline."""
        assert self.baseline
        try:
            restored = restore.restore(self.berth, self.baseline, lock_timeout=LOCK_TIMEOUT)
        except restore.LeftOpen as error:
            if error.restored:
                self.baseline = error.restored.baseline
            raise
        self.baseline = restored.baseline
        return restored

    def changed(self) -> bool:
        """Tell what the cheap check says."""
        assert self.baseline
        return restore.changed(self.berth, self.baseline)

    def compare(self) -> None:
        """Assert that the contents are those of the baseline."""
        assert self.contents() == self.before

    def contents(self) -> dict[str, Any]:
        """Return all contents of the database, rows in their physical order."""
        found: dict[str, Any] = {}
        with psycopg.connect(self.dsn, autocommit=True) as conn:
            for name, kind, populated in conn.execute(CONTENTS).fetchall():
                found[name] = _rows(conn, name, kind) if populated else "not populated"
            found["large objects"] = conn.execute(
                "SELECT oid, lomowner, lomacl::text, lo_get(oid) FROM pg_largeobject_metadata"
                " ORDER BY oid"
            ).fetchall()
            found["triggers"] = conn.execute(
                "SELECT tgrelid, tgname, tgenabled FROM pg_trigger ORDER BY oid"
            ).fetchall()
        return found


def _rows(conn: Connection, name: str, kind: str) -> list[Any]:
    columns = "last_value, is_called" if kind == "S" else "t::text"
    order = "" if kind == "S" else "ORDER BY ctid"
    return conn.execute(f"SELECT {columns} FROM ONLY {name} t {order}").fetchall()


def with_function(connection: Connection, baseline: restore.Baseline) -> restore.Baseline:
    """Return the baseline as it is when it has been put back a few times."""
    used = replace(baseline, restores=in_one_message.AFTER)
    with transaction(connection, lock_timeout=LOCK_TIMEOUT):
        return in_one_message.prepare(connection, used)


@contextmanager
def new_database(server: str) -> Iterator[Database]:
    """Create a database, and drop it with all that holds it."""
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute("DROP DATABASE IF EXISTS shop WITH (FORCE)")
        admin.execute("CREATE DATABASE shop")
        dsn = make_conninfo(server, dbname="shop")
        berth = psycopg.connect(dsn, autocommit=True)
        app = psycopg.connect(dsn, autocommit=True)
        made = Database(dsn, berth, app)
        try:
            yield made
        finally:
            for connection in (berth, app, made.berth, *made.others):
                connection.close()
            _roll_back_prepared(dsn)
            admin.execute("DROP DATABASE shop WITH (FORCE)")


@pytest.fixture
def db(restore_server: str) -> Iterator[Database]:
    """Yield a database of its own for the test."""
    with new_database(restore_server) as made:
        yield made


def _roll_back_prepared(dsn: str) -> None:
    query = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
    conn = psycopg.connect(dsn, autocommit=True, options="-c statement_timeout=0")
    with conn:
        for (gid,) in conn.execute(query).fetchall():
            conn.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))
