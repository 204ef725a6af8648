"""PostgreSQL 18: its databases are copied by sharing files, and put back as those of any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg

from pytest_berth.run.timeline import Timeline
from pytest_berth.services.postgres import restore, urls
from pytest_berth.services.postgres.application_connections import Application
from pytest_berth.services.postgres.databases import run_databases
from pytest_berth.services.postgres.databases.database_pool import DatabasePool

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import Stage

RUN = "eighteen"
SCHEMA = "CREATE TABLE item (id serial PRIMARY KEY, name text); INSERT INTO item VALUES (7, 'kept')"


def test_private_databases_of_postgres_18(
    stage: Stage, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    server = stage.start("local", berth_pg_version="18").server
    with run_databases.administration(server) as admin:
        template = run_databases.database_name(RUN, run_databases.TEMPLATE)
        run_databases.create(admin, server, RUN, template, run_databases.EMPTY)
        with psycopg.connect(urls.dsn(server, template), autocommit=True) as conn:
            conn.execute(SCHEMA)
            assert restore.store(conn, lock_timeout=1)
        run_databases.seal(admin, template)
        copy = run_databases.database_name(RUN, "shared")
        run_databases.create(admin, server, RUN, copy, template)
        assert admin.execute("SHOW file_copy_method").fetchone() == ("clone",)

    timeline = Timeline("main", 0, None)
    pool, names = DatabasePool(server, RUN, "main", 1.0, Application(), print, timeline), []
    changes = ("INSERT INTO item (name) VALUES ('new')", "DELETE FROM item", "DROP TABLE item", "")
    try:
        for change in changes:
            with pool.database(template) as private, private.engine().begin() as connection:
                assert connection.exec_driver_sql("TABLE item").all() == [(7, "kept")]
                connection.exec_driver_sql(change or "SELECT 1")
            names.append(private.name)
    finally:
        pool.close()
    assert names[0] == names[1] == names[2] != names[3]
