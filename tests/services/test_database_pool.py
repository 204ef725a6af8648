"""The pool of private databases: what is put back, and what a clone takes the place of."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import psycopg
import pytest

from pytest_berth.run.timeline import Timeline
from pytest_berth.services.postgres import restore, urls
from pytest_berth.services.postgres.application_connections import Application
from pytest_berth.services.postgres.databases import run_databases
from pytest_berth.services.postgres.databases.database_pool import DatabasePool
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

# Another worker of the outer run may use the same server.
RUN = os.urandom(4).hex()
SCHEMA = """
CREATE TABLE item (id serial PRIMARY KEY, name text);
INSERT INTO item (name) SELECT 'item' FROM generate_series(1, 25000);
CREATE TABLE log (note text);
"""


@pytest.fixture
def pool(outer_url: str) -> Iterator[DatabasePool]:
    """Lend databases with 25,000 rows."""
    server = urls.server(outer_url, "tests")
    try:
        with run_databases.administration(server) as admin:
            template = run_databases.database_name(RUN, run_databases.TEMPLATE)
            run_databases.create(admin, server, RUN, template, run_databases.EMPTY)
            with psycopg.connect(urls.dsn(server, template), autocommit=True) as conn:
                conn.execute(SCHEMA)
                restore.store(conn, lock_timeout=1)
            run_databases.seal(admin, template)
        pool = DatabasePool(
            server, RUN, "main", 1.0, Application(), print, Timeline("main", 0, None)
        )
        yield pool
        pool.close()
    finally:
        run_databases.drop_all(server, RUN)


def use(pool: DatabasePool, change: str) -> str:
    """Change a database, which nobody has changed before; return its name."""
    template = run_databases.database_name(RUN, run_databases.TEMPLATE)
    with pool.database(template) as private, private.engine().begin() as connection:
        found = connection.exec_driver_sql(
            "SELECT count(*), min(name), max(name), (SELECT count(*) FROM log) FROM item"
        )
        assert found.one() == (25000, "item", "item", 0)
        connection.exec_driver_sql(change)
    return private.name


def test_a_clone_takes_the_place_of_a_database_whose_repair_would_take_longer(
    pool: DatabasePool,
) -> None:
    used = [
        use(pool, "INSERT INTO item (name) SELECT 'new' FROM generate_series(1, 1000)"),
        use(pool, "UPDATE item SET name = 'changed' WHERE id = 1"),
        use(pool, "INSERT INTO log SELECT repeat('x', 1000) FROM generate_series(1, 10000)"),
        use(pool, "SELECT 1"),
    ]
    assert used[0] == used[1]
    assert len(set(used)) == 3
    with run_databases.administration(pool.server) as admin:

        def left() -> set[str]:
            query = "SELECT datname FROM pg_database WHERE datname = ANY (%s)"
            return {name for (name,) in admin.execute(query, [used])}

        wait_for(lambda: left().isdisjoint(used[:3]), 60)


def test_a_database_whose_drop_was_interrupted_is_dropped_at_the_end(outer_url: str) -> None:
    server = urls.server(outer_url, "tests")
    with run_databases.administration(server) as admin:
        name = run_databases.database_name(RUN, "interrupted")
        run_databases.create(admin, server, RUN, name, run_databases.EMPTY)
        # So PostgreSQL marks what it has begun to remove.
        admin.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", [name])

        run_databases.drop_all(server, RUN)

        assert not run_databases.exists(admin, name)


def test_a_database_that_another_run_begins_to_drop_is_dropped_all_the_same(outer_url: str) -> None:
    server = urls.server(outer_url, "tests")
    name = run_databases.database_name(RUN, run_databases.TEMPLATE)
    with (
        ThreadPoolExecutor(1) as threads,
        run_databases.administration(server) as admin,
        psycopg.connect(admin.info.dsn, password=admin.info.password) as other,
    ):
        run_databases.create(admin, server, RUN, name, run_databases.EMPTY)
        run_databases.seal(admin, name)
        # As unsealing does, which comes first.
        other.execute("UPDATE pg_database SET datconnlimit = 7 WHERE datname = %s", [name])
        waiting = "SELECT FROM pg_stat_activity WHERE %s = ANY (pg_blocking_pids(pid))"
        ahead = [other.info.backend_pid]

        dropped = threads.submit(run_databases.drop_all, server, RUN)
        wait_for(lambda: admin.execute(waiting, ahead).fetchone() is not None, 60)
        other.commit()
        dropped.result(60)

        assert not run_databases.exists(admin, name)
