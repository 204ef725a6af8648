"""A PostgreSQL of somebody else's that comes to the port of a server of berth's.

It lets the user ``berth`` in without a password, and has databases of the same names.
"""

from __future__ import annotations

import json
import signal
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
from psycopg import sql

from pytest_berth import wait_for
from pytest_berth.services.postgres import options as ini
from pytest_berth.services.postgres.server import binaries
from pytest_berth.services.postgres.service import POSTGRES
from pytest_berth.sources import os_account
from pytest_berth.sources.artifact_cache import cache_directory

if TYPE_CHECKING:
    from pathlib import Path

USER = "berth"
FILE = "foreign.json"
_ROWS = 7
_COUNTED = """
SELECT n.nspname || '.' || c.relname FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'S') AND n.nspname !~ '^pg_' ORDER BY 1
"""
_SHARED = (
    "SELECT datname, datistemplate, datconnlimit FROM pg_catalog.pg_database ORDER BY 1",
    "SELECT rolname, rolpassword FROM pg_catalog.pg_authid ORDER BY 1",
    "SELECT setrole::regrole::text, setconfig FROM pg_catalog.pg_db_role_setting ORDER BY 1",
    "SELECT lomowner::regrole::text FROM pg_catalog.pg_largeobject_metadata",
)


def initialise(place: Path) -> Path:
    """Make the data of a server that lets everybody in."""
    place.mkdir()
    os_account.give(place)
    data = place / "data"
    found = _programs()
    result = os_account.run(
        [str(found / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "--no-sync"], place
    )
    assert result.returncode == 0, result.stdout
    return data


def take_over(server: Any, data: Path, note: Path) -> None:
    """Kill a server of berth's, and start another one in its place; note what that one holds.

    Args:
        server: The server.
        data: The data of the other one.
        note: The file that tells of the other one.
    """
    names = databases_of(server)
    kill(server)
    start(server.port, data, names, note)


def kill(server: Any) -> None:
    """Kill a local server with all its processes."""
    process = psutil.Process(server.handle["pid"])
    family = [process, *process.children(recursive=True)]
    for each in family:
        each.kill()
    psutil.wait_procs(family, timeout=30)


def start(port: int, data: Path, names: list[str], note: Path) -> None:
    """Start the other server at a port, with databases of given names."""
    command = [str(_programs() / "postgres"), "-D", str(data), "-p", str(port)]
    command += ["-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
    command += ["-c", "fsync=off", "-c", "max_prepared_transactions=5"]
    # With its data, so that nothing of it stays in /dev/shm where it is killed.
    command += ["-c", "dynamic_shared_memory_type=mmap"]
    with (data.parent / "log").open("ab") as log:
        process = subprocess.Popen(
            command,
            cwd=data.parent,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            **os_account.identity(),
        )
    process.returncode = 0
    note.write_text(json.dumps({"pid": process.pid}))
    dsn = f"postgresql://{USER}@127.0.0.1:{port}/postgres"
    wait_for(lambda: psycopg.connect(dsn), 60, ignore=psycopg.Error).close()
    _fill(dsn, names)
    note.write_text(json.dumps({"pid": process.pid, "port": port, "held": held(port)}))


def held(port: int) -> list[Any]:
    """Return all that the server holds: databases, roles, settings, tables, sequences, rows."""
    found: list[Any] = []
    dsn = f"postgresql://{USER}@127.0.0.1:{port}/"
    with closing(psycopg.connect(f"{dsn}postgres", autocommit=True)) as connection:
        found += [connection.execute(query.encode()).fetchall() for query in _SHARED]
        names = [name for (name, *_) in found[0] if name != "template0"]
    for name in names:
        with closing(psycopg.connect(f"{dsn}{name}", autocommit=True)) as connection:
            for (table,) in connection.execute(_COUNTED).fetchall():
                rows = sql.SQL("SELECT md5(t::text) FROM (SELECT * FROM {}) t ORDER BY 1").format(
                    sql.Identifier(*table.split(".", 1))
                )
                found.append([name, table, connection.execute(rows).fetchall()])
    return json.loads(json.dumps(found))  # type: ignore[no-any-return]


def end(note: Path) -> None:
    """End the other server, if there is one."""
    if note.exists():
        process = psutil.Process(json.loads(note.read_text())["pid"])
        process.send_signal(signal.SIGQUIT)
        psutil.wait_procs([process], timeout=30)


def databases_of(server: Any) -> list[str]:
    """Return the names of the databases that berth has made on a server."""
    from pytest_berth.services.postgres.databases import run_databases

    with run_databases.administration(server) as connection:
        query = "SELECT datname FROM pg_catalog.pg_database WHERE oid >= 16384"
        return [name for (name,) in connection.execute(query).fetchall()]


def _fill(dsn: str, names: list[str]) -> None:
    with closing(psycopg.connect(dsn, autocommit=True)) as connection:
        there = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        for name in set(names) - there:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        connection.execute("CREATE ROLE left_behind")
    for name in ("postgres", "template1", *names):
        inside = psycopg.conninfo.make_conninfo(dsn, dbname=name)
        with closing(psycopg.connect(inside, autocommit=True)) as connection:
            connection.execute("CREATE TABLE written (n serial)")
            connection.execute("INSERT INTO written SELECT FROM generate_series(1, %s)", [_ROWS])
            connection.execute("SELECT lo_create(0)")


def _programs() -> Path:
    class Silence:
        def note(self, text: str) -> None: ...
        def update(self, label: str, done: int, total: int | None) -> None: ...

    version = next(each for each in POSTGRES.options if each is ini.VERSION).default
    return binaries.find(version, cache=cache_directory(), mirror="", progress=Silence()).directory
