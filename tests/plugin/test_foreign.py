"""An integration test whose application connects to a server of others is told so."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Project

APP = """
import asyncio, os
import asyncpg, psycopg, psycopg2
from psycopg_pool import ConnectionPool
from sqlalchemy import create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

URL = os.environ["DATABASE_URL"]
DSN = URL.replace("+psycopg", "")
engine = create_engine(URL)
with engine.connect():  # as create_all() on import does
    pass

def with_engine():
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE left_behind ()"))

def with_psycopg():
    with psycopg.connect(DSN) as connection:
        connection.execute("SELECT 1")

def with_psycopg2():
    psycopg2.connect(DSN).close()

def with_pool():
    with ConnectionPool(DSN, min_size=1) as pool, pool.connection() as connection:
        connection.execute("SELECT 1")

def with_asyncpg():
    async def work():
        await (await asyncpg.connect(DSN)).close()
    asyncio.run(work())

def with_async_psycopg():
    async def work():
        async with await psycopg.AsyncConnection.connect(DSN) as connection:
            await connection.execute("SELECT 1")
    asyncio.run(work())

def with_async_engine():
    async def work():
        opened = create_async_engine(URL)
        async with opened.connect():
            pass
        await opened.dispose()
    asyncio.run(work())
"""
PLACES = ("with_engine", "with_psycopg", "with_psycopg2", "with_pool", "work")
WAYS = ("engine", "psycopg", "psycopg2", "pool", "asyncpg", "async_psycopg", "async_engine")
TESTS = f"""
import app
import pytest

@pytest.mark.parametrize("way", {WAYS})
def test_integration(pg_connection, way):
    getattr(app, "with_" + way)()

def test_unit():
    app.with_psycopg()
"""

SWALLOWED = """
def test_swallowed(pg_connection):
    try:
        app.with_engine()
    except Exception:
        pass
"""


@pytest.fixture
def development(served: Project, outer_url: str) -> Iterator[str]:
    """DSN of a database for development, on a server that the run is given; it is dropped."""
    served.write(app=APP, test_it=TESTS)
    name = f"dev_{os.urandom(4).hex()}"
    server = outer_url.replace("+psycopg", "")
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
        yield f"{server.rpartition('/')[0]}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def run(project: Project, database: str, *arguments: str) -> pytest.RunResult:
    """Run the tests in a shell that names the database for development."""
    return project.run(*arguments, DATABASE_URL=database.replace("://", "+psycopg://"))


def is_written(database: str) -> bool:
    """Tell whether a test has left something behind."""
    with psycopg.connect(database) as connection:
        found = connection.execute("SELECT to_regclass('left_behind') IS NOT NULL").fetchone()
    assert found
    return bool(found[0])


def test_each_connection_to_a_database_of_others_is_told_with_its_line(
    served: Project, development: str
) -> None:
    result = run(served, development)
    result.assert_outcomes(passed=len(WAYS) + 1, warnings=len(WAYS))
    told = str(result.stdout)
    places = {f"in {name}; DATABASE_URL in the environment names it" for name in PLACES}
    assert [place for place in places if place not in told] == []
    result.stdout.fnmatch_lines(
        [
            "*test_integration?engine?*",
            "*/app.py:*: ForeignServerWarning: the application connects to a server that is not"
            " of this run: postgres at *, database 'dev_*'.",
            "*do:  tell the application of the run's server: berth_export = DATABASE_URL ="
            " {pg_url}",
            "*berth_foreign_allow = *:*",
        ]
    )
    assert is_written(development)


def test_it_can_be_a_failure_before_anything_is_written_or_be_allowed(
    served: Project, development: str
) -> None:
    served.write(test_it=TESTS + SWALLOWED)
    result = run(served, development, "-oberth_foreign=fail")
    result.assert_outcomes(passed=2, failed=len(WAYS), errors=1)
    assert not is_written(development)

    allowed = run(served, development, "-oberth_foreign_allow=*:*", "-k", "engine and not async")
    allowed.assert_outcomes(passed=1, deselected=len(WAYS) + 1)
    assert is_written(development)


def test_a_test_that_finds_an_exported_server_not_running_is_told_how_to_ask_for_it(
    project: Project,
) -> None:
    project.ini(
        "berth_export =",
        "    DATABASE_URL = {pg_dsn}",
        "    REDIS_URL = {redis_url}",
        "    BROKERS = {kafka_bootstrap}",
    )
    project.write(
        test_it="""
        import os
        import asyncio, asyncpg, kafka, psycopg, redis

        def test_psycopg():
            psycopg.connect(os.environ["DATABASE_URL"])

        def test_asyncpg():
            asyncio.run(asyncpg.connect(os.environ["DATABASE_URL"]))

        def test_redis():
            redis.Redis.from_url(os.environ["REDIS_URL"]).ping()

        def test_kafka():
            kafka.KafkaProducer(bootstrap_servers=os.environ["BROKERS"], bootstrap_timeout_ms=200)

        def test_other():
            psycopg.connect("postgresql://localhost:1/x")
        """
    )
    result = project.run()
    result.assert_outcomes(failed=5)
    for service, prefix in (("postgres", "pg"), ("redis", "redis"), ("kafka", "kafka")):
        result.stdout.fnmatch_lines(
            [
                f"The {service} server of this run was not started, or not for this test*",
                f"*do:  berth_autouse = {prefix}*",
            ]
        )
    assert str(result.stdout).count("berth_autouse = ") == 4


def test_an_application_that_connects_when_it_is_imported_is_told_why_nobody_answers(
    project: Project,
) -> None:
    project.ini("berth_export = DATABASE_URL = {pg_dsn}")
    project.write(
        app="""
        import os
        import psycopg

        connection = psycopg.connect(os.environ["DATABASE_URL"])
        """,
        test_it="import app",
    )
    told = [
        "The postgres server of this run has not been started yet: *",
        "  why: berth_export tells the application of it (DATABASE_URL), which connects when it*",
        "  do:  let it connect when it is first used, *",
    ]
    result = project.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*- no server -*", *told])

    project.conftest("import app")
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(told)


def test_connections_that_modules_hold_since_their_import_are_told_once(
    served: Project, development: str
) -> None:
    served.write(
        app="""
        import os
        import psycopg

        DSN = os.environ["DATABASE_URL"].replace("+psycopg", "")

        class Repository:
            def __init__(self):
                self.connection = psycopg.connect(DSN, autocommit=True)

            def write(self):
                self.connection.execute("CREATE TABLE left_behind ()")

        repository = Repository()
        closed = psycopg.connect(DSN)
        closed.close()
        """,
        test_it="""
        import app

        def test_writes(pg_connection):
            app.repository.write()

        def test_next(pg_connection): pass
        """,
    )
    result = run(served, development)
    result.assert_outcomes(passed=2, warnings=1)
    result.stdout.fnmatch_lines(["*it connected at *app.py, when it was imported: repository; *"])

    with psycopg.connect(development.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("DROP TABLE left_behind")
    result = run(served, development, "-oberth_foreign=fail")
    result.assert_outcomes(passed=2, errors=1)
