"""What one repair takes, against its floor: one round trip to the server."""

from __future__ import annotations

import time
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks.machine import describe
from benchmarks.report import Table, milliseconds, ratio
from pytest_berth.services.postgres import restore

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from benchmarks.machine import Machine

TITLE = "One repair"
SIZES = (20, 60, 500)
SEEDED = 5
LOCK_TIMEOUT = 5.0
WRITE = b"INSERT INTO t0 (name) VALUES ('a'), ('b'); INSERT INTO t1 DEFAULT VALUES;" + (
    b"INSERT INTO t3 (name) VALUES ('c')"
)
Connection = psycopg.Connection[Any]


def measure(machine: Machine, *, source: str, times: int) -> Table:
    """Measure repairs of databases of several sizes on one server."""
    with machine.server(source) as url:
        rows = [row for tables in SIZES for row in _of_size(url, tables, times)]
    return Table(
        TITLE,
        f"Medians of {times}, {describe(source)}. The tables have"
        f" a sequence each, two of three a foreign key, and {SEEDED} hold ten rows of the baseline."
        " Three tables are dirty: four rows were committed by another connection.",
        ("against a round trip", "median", "fastest", "slowest", "what"),
        rows,
    )


def _of_size(url: str, tables: int, times: int) -> list[tuple[str, ...]]:
    with database(url, tables) as (berth, application):
        baseline = restore.capture(berth, lock_timeout=LOCK_TIMEOUT, watch=True)

        def put_back() -> None:
            nonlocal baseline
            baseline = restore.restore(berth, baseline, lock_timeout=LOCK_TIMEOUT).baseline

        def nothing() -> None:
            pass

        def write() -> None:
            application.execute(WRITE)

        for _ in range(3):
            timed(put_back, write)
        measured = {
            "one round trip": (lambda: berth.execute("SELECT 1"), nothing),
            "nothing has changed": (put_back, nothing),
            "three tables are dirty": (put_back, write),
        }
        found = {name: [timed(*what) for _ in range(times)] for name, what in measured.items()}
    floor = median(found["one round trip"])
    return [
        (
            ratio(median(values), floor),
            *map(milliseconds, (median(values), min(values), max(values))),
            f"{tables} tables: {name}",
        )
        for name, values in found.items()
    ]


def timed(run: Callable[[], object], before: Callable[[], object]) -> float:
    """Return how many seconds a call took, which another went before."""
    before()
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


@contextmanager
def database(url: str, tables: int) -> Iterator[tuple[Connection, Connection]]:
    """Make a database of so many tables; yield connections for berth and for an application."""
    server = url.replace("+psycopg", "", 1)
    name = sql.Identifier(f"repair_{tables}")
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(name))
        dsn = make_conninfo(server, dbname=f"repair_{tables}")
        with (
            psycopg.connect(dsn, autocommit=True) as berth,
            psycopg.connect(dsn, autocommit=True, prepare_threshold=None) as application,
        ):
            create(application, tables)
            yield berth, application
        admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def create(conn: Connection, tables: int) -> None:
    """Make a schema of so many tables, of which some hold rows."""
    for number in range(tables):
        conn.execute(
            f"CREATE TABLE t{number} (id serial PRIMARY KEY, name text, parent int)".encode()
        )
        if number % 3:
            key = f"ALTER TABLE t{number} ADD FOREIGN KEY (parent) REFERENCES t{number - 1}"
            conn.execute(key.encode())
        if number >= tables - SEEDED:
            rows = f"INSERT INTO t{number} (name) SELECT 'seed' FROM generate_series(1, 10)"
            conn.execute(rows.encode())
