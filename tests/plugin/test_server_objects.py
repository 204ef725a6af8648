"""What a test changes beside its database is put back on berth's own server, or told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project

TESTS = """
import psycopg
import pytest

SEEN = '''
SELECT ARRAY(SELECT rolname::text FROM pg_roles WHERE rolname !~ '^pg_' ORDER BY 1),
    ARRAY(SELECT datname::text FROM pg_database WHERE datname !~ '^berth_' ORDER BY 1),
    ARRAY(SELECT slot_name::text FROM pg_replication_slots ORDER BY 1),
    ARRAY(SELECT name FROM pg_file_settings WHERE sourcefile ~ 'auto.conf'),
    ARRAY(SELECT roname FROM pg_replication_origin),
    ARRAY(SELECT concat_ws(' ', datname, datconnlimit, datallowconn, datistemplate)
        FROM pg_database WHERE datname IN ('postgres', 'template1') ORDER BY 1)
'''

def run(dsn, *statements):
    with psycopg.connect(dsn, autocommit=True) as conn:
        for statement in statements:
            found = conn.execute(statement)
        return found.fetchone() if found.description else None

@pytest.fixture(scope="session")
def of_the_session(pg_dsn):
    run(
        pg_dsn,
        "CREATE ROLE kept VALID UNTIL '2030-01-01'",
        "SELECT pg_create_physical_replication_slot('kept')",
    )

def test_changes(of_the_session, pg_dsn): pass

def test_changes_again(of_the_session, pg_dsn):
    run(
        pg_dsn,
        "CREATE ROLE helper IN ROLE pg_monitor",
        "CREATE TABLE theirs (x int)",
        "ALTER TABLE theirs OWNER TO helper",
        "ALTER ROLE kept SUPERUSER",
        "ALTER ROLE kept SET work_mem = '2MB'",
        "CREATE DATABASE another",
        "SELECT pg_replication_origin_create('origin')",
        "ALTER DATABASE template1 ALLOW_CONNECTIONS false",
        "ALTER DATABASE postgres ALLOW_CONNECTIONS false CONNECTION LIMIT 3 IS_TEMPLATE true",
    )

def test_sees(pg_dsn):
    assert run(pg_dsn, SEEN) == (["berth", "kept"], ["postgres", "template0", "template1"],
        ["kept"], [], [], ["postgres -1 t f", "template1 -1 t t"])
    query = "SELECT rolsuper, rolvaliduntil::date::text, rolconfig FROM pg_roles"
    query += " WHERE rolname = 'kept'"
    assert run(pg_dsn, query) == (False, "2030-01-01", None)

def test_sets(pg_dsn):
    run(pg_dsn, "ALTER SYSTEM SET work_mem = '3MB'")

def test_rolled_back(pg_connection):
    driver = pg_connection.connection.dbapi_connection
    driver.execute("SELECT pg_create_physical_replication_slot('slot')")

def test_drops(pg_dsn):
    assert run(pg_dsn, SEEN)[2:4] == (["kept"], [])
    run(pg_dsn, "SELECT pg_drop_replication_slot('kept')")

@pytest.mark.berth_pg(isolation="database")
def test_private(pg_dsn):
    run(pg_dsn, "CREATE ROLE helper")

def test_last(pg_dsn):
    assert run(pg_dsn, SEEN)[0] == ["berth", "kept"]
"""


def test_what_a_test_changes_on_the_server_is_put_back_or_told(
    project: Project, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.ini("berth_source = local")
    project.write(test_it=TESTS)
    result = project.run("-p", "no:randomly")
    result.assert_outcomes(passed=8)
    told = (
        "*test_drops has left on the server what could not be taken back (slot kept was dropped)*"
    )
    assert len([line for line in result.outlines if "has left on the server" in line]) == 1
    result.stdout.fnmatch_lines([told])


@pytest.mark.parametrize(
    ("name", "value"), [("default_transaction_read_only", "on"), ("statement_timeout", "1ms")]
)
def test_what_a_test_sets_for_all_sessions_does_not_keep_it_from_being_put_back(
    project: Project, require_source: Callable[[str], None], name: str, value: str
) -> None:
    require_source("local")
    project.ini("berth_source = local")
    project.write(
        test_it=f"""
        import psycopg
        from pytest_berth import wait_for

        def is_set(dsn):
            with psycopg.connect(dsn) as connection:
                return connection.execute("SHOW {name}").fetchone() == ("{value}",)

        def test_sets(pg_dsn):
            with psycopg.connect(pg_dsn, autocommit=True) as connection:
                connection.execute("CREATE ROLE helper")
                connection.execute("CREATE TABLE of_the_test ()")
                connection.execute("ALTER SYSTEM SET {name} = '{value}'")
                connection.execute("SELECT pg_reload_conf()")
            wait_for(lambda: is_set(pg_dsn), 30, ignore=psycopg.errors.QueryCanceled)

        def test_finds_nothing_of_it(pg_dsn):
            wait_for(lambda: not is_set(pg_dsn), 30, ignore=psycopg.errors.QueryCanceled)
            with psycopg.connect(pg_dsn) as connection:
                found = connection.execute(
                    "SELECT to_regrole('helper'), to_regclass('of_the_test')"
                ).fetchone()
            assert found == (None, None)
        """
    )
    project.run("-p", "no:randomly").assert_outcomes(passed=2)


def test_sessions_of_tests_are_as_the_server_is_set_to_have_them(project: Project) -> None:
    project.ini("berth_pg_settings = statement_timeout=61s")
    project.write(
        test_it="""
        from sqlalchemy import text

        SHOW = text("SHOW statement_timeout")

        def test_rolled_back(pg_session):
            assert pg_session.scalar(SHOW) == "61s"

        def test_committing(pg_engine):
            with pg_engine.connect() as connection:
                assert connection.scalar(SHOW) == "61s"

        def test_private(pg_database):
            assert pg_database.session.scalar(SHOW) == "61s"
        """
    )
    project.run().assert_outcomes(passed=3)
