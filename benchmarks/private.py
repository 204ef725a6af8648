"""What a private database takes per test, beside CREATE DATABASE and DROP DATABASE."""

from __future__ import annotations

import time
from contextlib import contextmanager
from statistics import median
from typing import TYPE_CHECKING, Any

import psycopg

from benchmarks.machine import describe
from benchmarks.repair import SIZES, WRITE, create
from benchmarks.report import Table, milliseconds, ratio
from pytest_berth.run.timeline import Timeline
from pytest_berth.services.postgres import restore, urls
from pytest_berth.services.postgres.application_connections import Application
from pytest_berth.services.postgres.databases import run_databases
from pytest_berth.services.postgres.databases.database_pool import DatabasePool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.machine import Machine
    from pytest_berth.api import Server

TITLE = "One private database"
RUN = "benchmark"
STRATEGIES = ("FILE_COPY", "WAL_LOG")
LOCK_TIMEOUT = 5.0


def measure(machine: Machine, *, source: str, times: int) -> Table:
    """Measure private databases with templates of several sizes on one server."""
    with machine.server(source) as url:
        server = urls.server(url, "benchmarks")
        rows = [row for tables in SIZES for row in _of_size(server, tables, times)]
    return Table(
        TITLE,
        f"Medians of {times} {describe(source)}; of fewer where"
        " databases are made. What is measured is all that berth does for a test; its own"
        " statements are not. The peers' way: CREATE DATABASE from the template, a connection,"
        " DROP DATABASE.",
        ("times as fast", "median", "fastest", "slowest", "what"),
        rows,
    )


def _of_size(server: Server, tables: int, times: int) -> list[tuple[str, ...]]:
    with _template(server, tables) as (admin, template):
        found = {
            f"the peers' way, {strategy}": _cloned(server, admin, template, strategy, times // 20)
            for strategy in STRATEGIES
        }
        timeline = Timeline("main", 0.0, None)
        pool = DatabasePool(server, RUN, "main", LOCK_TIMEOUT, Application(), print, timeline)
        try:
            found |= {
                "the test has done nothing": _timed(pool, template, times, b"SELECT 1"),
                "the test has written to three tables": _timed(pool, template, times, WRITE),
                "the test has changed the schema": _timed(
                    pool, template, times // 20, b"CREATE TABLE mine (id int)"
                ),
            }
        finally:
            pool.close()
    peers = median(found[f"the peers' way, {STRATEGIES[0]}"])
    return [
        (
            ratio(peers, median(values)),
            *map(milliseconds, (median(values), min(values), max(values))),
            f"{tables} tables: {name}",
        )
        for name, values in found.items()
    ]


def _cloned(
    server: Server, admin: psycopg.Connection[Any], template: str, strategy: str, times: int
) -> list[float]:
    found = []
    for _ in range(max(3, times)):
        began = time.perf_counter()
        admin.execute(f"CREATE DATABASE cloned TEMPLATE {template} STRATEGY {strategy}".encode())
        psycopg.connect(urls.dsn(server, "cloned")).close()
        admin.execute("DROP DATABASE cloned WITH (FORCE)")
        found.append(time.perf_counter() - began)
    return found


def _timed(pool: DatabasePool, template: str, times: int, statements: bytes) -> list[float]:
    found = []
    for number in range(max(3, times) + 3):
        began = time.perf_counter()
        given = pool.database(template)
        private = given.__enter__()
        taken = time.perf_counter() - began
        with private.engine().begin() as connection:
            connection.exec_driver_sql(statements.decode())
        began = time.perf_counter()
        given.__exit__(None, None, None)
        if number >= 3:
            found.append(taken + time.perf_counter() - began)
    return found


@contextmanager
def _template(server: Server, tables: int) -> Iterator[tuple[psycopg.Connection[Any], str]]:
    with run_databases.administration(server) as admin:
        name = run_databases.database_name(RUN, run_databases.TEMPLATE)
        run_databases.create(admin, server, RUN, name, run_databases.EMPTY)
        with psycopg.connect(urls.dsn(server, name), autocommit=True) as conn:
            create(conn, tables)
            restore.store(conn, lock_timeout=LOCK_TIMEOUT)
        run_databases.seal(admin, name)
        yield admin, name
    run_databases.drop_all(server, RUN)
