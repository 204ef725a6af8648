"""Suites of projects without SQLAlchemy: psycopg alone is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

# As if it were not installed, in this process and in xdist's workers.
HIDDEN = """
    import sys
    from pytest_berth.services.postgres import sqlalchemy_compat

    sys.modules["sqlalchemy"] = None
    sqlalchemy_compat.version = lambda: ()
"""
SCHEMA = """
    def make(connection):
        connection.execute("CREATE TABLE users (id serial, email text)")
        connection.execute("INSERT INTO users (email) VALUES ('ada')")
"""
TESTS = """
    import asyncio, os
    import asyncpg, psycopg, pytest

    def take(dsn):
        with psycopg.connect(dsn) as connection:
            found = connection.execute("SELECT id, email FROM users").fetchall()
            connection.execute("INSERT INTO users (email) VALUES ('eve')")
        return found

    @pytest.mark.parametrize("time", [1, 2])
    def test_psycopg(pg_url, pg_dsn, pg_server, time):
        assert pg_url == pg_dsn == os.environ["DATABASE_URL"]
        assert take(pg_url) == [(1, "ada")]

    @pytest.mark.parametrize("time", [1, 2])
    def test_asyncpg(pg_dsn, time):
        async def act():
            connection = await asyncpg.connect(pg_dsn)
            await connection.execute("INSERT INTO users (email) VALUES ('eve')")
            found = await connection.fetchval("SELECT count(*) FROM users")
            await connection.close()
            return found

        assert asyncio.run(act()) == 2

    @pytest.mark.parametrize("time", [1, 2])
    def test_private(pg_database, time):
        assert take(pg_database.dsn) == [(1, "ada")]

    @pytest.mark.berth_pg(isolation="database")
    def test_instead(pg_dsn):
        assert take(pg_dsn) == [(1, "ada")]

    def test_named(pg_databases):
        assert take(pg_databases["more"].dsn) == [(1, "ada")]

    @pytest.mark.berth_pg(isolation="rollback")
    def test_rolled_back(pg_server): pass
"""
ASKING = """
    import pytest

    def test_session(pg_session): pass
    def test_engine(pg_engine): pass
    def test_async(pg_async_session): pass
    def test_private(pg_database): pg_database.session

    @pytest.fixture(scope="module")
    def wider(pg_engine): pass
    def test_wider(wider, pg_url): pass
"""


@pytest.fixture
def without(served: Project) -> Project:
    """A project without SQLAlchemy, whose schema a function makes."""
    served.write(hidden=HIDDEN, schema=SCHEMA)
    served.ini(
        "berth_pg_schema = schema:make",
        "berth_pg_databases = more = schema:make",
        "berth_export = DATABASE_URL = {pg_url}",
    )
    return served


def test_urls_export_and_isolation_need_psycopg_only(without: Project) -> None:
    without.write(test_it=TESTS)
    without.run("-phidden", forked=False).assert_outcomes(passed=9)


def test_what_gives_something_of_it_says_what_is_missing(without: Project) -> None:
    without.write(test_it=ASKING)
    result = without.run("-phidden", forked=False)
    result.assert_outcomes(errors=4, failed=1)
    missing = "the package 'sqlalchemy', which is not installed."
    result.stdout.fnmatch_lines_random(
        [
            f"pg_session needs {missing}",
            f"pg_engine needs {missing}",
            f"pg_async_session needs {missing}",
            f"the engine of a private database needs {missing}",
            '*pip install "pytest-berth[[]sqlalchemy]"',
        ]
    )


def test_a_pool_that_a_test_makes_meanwhile_is_known(served: Project) -> None:
    served.ini()
    served.write(
        test_it="""
            import pytest, sys

            engine = None

            def test_late(pg_url):
                global engine
                assert "sqlalchemy" not in sys.modules
                import sqlalchemy
                engine = sqlalchemy.create_engine(pg_url)
                with engine.begin() as connection:
                    connection.exec_driver_sql("CREATE TABLE things (id int)")

            def test_next(pg_url):
                with engine.begin() as connection:
                    assert not connection.exec_driver_sql("TABLE pg_stat_user_tables").all()
        """
    )
    served.run("-pno:randomly", forked=False).assert_outcomes(passed=2)


def test_a_function_may_ask_for_a_connection_of_psycopg(served: Project) -> None:
    served.ini("berth_pg_schema = schema:make", "berth_pg_seed = schema:seed")
    served.write(
        schema="""
            from __future__ import annotations
            import psycopg
            from psycopg import Connection

            def make(connection: psycopg.Connection) -> None:
                assert isinstance(connection, psycopg.Connection)
                connection.execute("CREATE TABLE users (email text)")

            def seed(connection: Connection[tuple]) -> None:
                connection.execute("INSERT INTO users VALUES (%s)", ["ada"])
        """,
        test_it="""
            import pytest, schema
            from sqlalchemy import text

            @pytest.mark.berth_pg(seed=schema.seed)
            def test_seeds(pg_session):
                assert pg_session.scalars(text("SELECT email FROM users")).all() == ["ada"] * 2
        """,
    )
    served.run().assert_outcomes(passed=1)
