"""Private databases: isolation ``database``, and the fixture ``pg_database``."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import psycopg
import pytest

if TYPE_CHECKING:
    from conftest import Project

HEAD = """
import os
import psycopg
import pytest
from sqlalchemy import create_engine, event, insert, inspect, select, text
from models import User

private = pytest.mark.berth_pg(isolation="database")

def emails(bind):
    with bind.connect() as connection:
        return connection.scalars(select(User.email).order_by(User.email)).all()

def add(bind, email):
    with bind.begin() as connection:
        return connection.execute(insert(User).values(email=email)).inserted_primary_key[0]

def name(url):
    return url.rpartition("/")[2]

"""


@pytest.fixture
def shop(served: Project) -> Project:
    """A project with a table of users."""
    served.models()
    return served


def run(project: Project, tests: str, *arguments: str) -> pytest.RunResult:
    """Run a module of tests."""
    (project.root / "test_it.py").write_text(HEAD + dedent(tests))
    return project.run(*arguments)


def test_every_fixture_leads_to_the_private_database(shop: Project) -> None:
    result = run(
        shop,
        """
        def test_shared(pg_url):
            assert name(pg_url).endswith("_main")

        @private
        def test_it(pg_url, pg_dsn, pg_engine, pg_connection, pg_session, pg_database):
            found = {
                name(pg_url),
                name(pg_dsn),
                pg_engine.url.database,
                pg_connection.scalar(text("SELECT current_database()")),
                pg_session.scalar(text("SELECT current_database()")),
                pg_database.name,
                name(pg_database.url),
                name(pg_database.dsn),
                pg_database.session.scalar(text("SELECT current_database()")),
                pg_database.connection.scalar(text("SELECT current_database()")),
            }
            assert len(found) == 1
            assert found.pop().endswith("_main_1")
        """,
        "-vv",
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["*test_it PASSED (postgres database: asked for by the marker)*"])


def test_the_async_fixtures_lead_to_the_private_database(shop: Project) -> None:
    shop.plugins = ("asyncio",)
    shop.models(
        "berth_pg_isolation = database",
        "asyncio_mode = auto",
        "asyncio_default_fixture_loop_scope = function",
    )
    result = run(
        shop,
        """
        @pytest.mark.parametrize("n", [1, 2])
        async def test_it(pg_async_engine, pg_async_connection, pg_async_session, pg_url, n):
            current = text("SELECT current_database()")
            async with pg_async_engine.begin() as connection:
                found = {await connection.scalar(current)}
            found.add(await pg_async_connection.scalar(current))
            found.add(await pg_async_session.scalar(current))
            assert found == {name(pg_url)}
            if n == 1:
                await pg_async_session.execute(text("DROP TABLE users"))
                await pg_async_session.commit()
            else:
                await pg_async_session.execute(text("SELECT * FROM users"))
        """,
    )
    result.assert_outcomes(passed=2)


def test_the_ini_file_gives_all_tests_private_databases(shop: Project) -> None:
    shop.models("berth_pg_isolation = database")
    result = run(
        shop,
        """
        @pytest.mark.parametrize("n", [1, 2, 3])
        def test_it(pg_engine, n):
            assert emails(pg_engine) == []
            assert add(pg_engine, "a@example.com") == 1
            assert pg_engine.url.database.endswith("_main_1")

        @pytest.mark.berth_pg(isolation="auto")
        def test_auto(pg_url):
            assert name(pg_url).endswith("_main")
        """,
    )
    result.assert_outcomes(passed=4)


def test_a_test_that_changes_the_schema_gets_no_one_into_trouble(shop: Project) -> None:
    result = run(
        shop,
        """
        seen = set()

        @private
        @pytest.mark.parametrize("n", [1, 2, 3])
        def test_it(pg_engine, n):
            assert pg_engine.url.database not in seen
            seen.add(pg_engine.url.database)
            assert inspect(pg_engine).get_table_names() == ["users"]
            with pg_engine.begin() as connection:
                connection.execute(text("DROP TABLE users; CREATE TABLE other (id int)"))

        @private
        def test_dropped(pg_dsn):
            with psycopg.connect(pg_dsn) as connection:
                query = "SELECT count(*) FROM pg_database WHERE starts_with(datname, %s)"
                prefix = name(pg_dsn).rpartition("_")[0] + "_"
                assert connection.execute(query, [prefix]).fetchone()[0] <= 3
        """,
    )
    result.assert_outcomes(passed=4)
    result.stdout.no_fnmatch_line("*changed the schema*")


def test_nothing_of_a_session_is_left_in_a_database_that_is_used_again(shop: Project) -> None:
    result = run(
        shop,
        """
        @private
        @pytest.mark.parametrize("n", [1, 2])
        def test_it(pg_engine, n):
            calls = []
            with pg_engine.connect() as connection:
                found = connection.execute(text(
                    "SELECT current_setting('work_mem'), to_regclass('mine'),"
                    " ARRAY(SELECT pg_listening_channels())"
                )).one()
                assert found == ("4MB", None, [])
                locks = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database ="
                database = "(SELECT oid FROM pg_database WHERE datname = current_database())"
                assert connection.scalar(text(f"{locks} {database}")) == 0
                connection.execute(text("SELECT pg_advisory_lock(1)"))
                connection.execute(text("SET work_mem = '9MB'"))
                connection.execute(text("LISTEN news"))
                connection.execute(text("CREATE TEMP TABLE mine (id int)"))
                connection.commit()
                listening = connection.scalars(text("SELECT pg_listening_channels()")).all()
                assert listening == ["news"]
            assert pg_engine.url.database.endswith("_main_1")

            @event.listens_for(pg_engine, "before_cursor_execute")
            def count(*_):
                calls.append(1)
            assert n == 1 or calls == []

        @private
        def test_other_engine_does_not_stay(pg_url):
            global engine
            engine = create_engine(pg_url)
            with engine.connect() as connection:
                assert connection.scalar(text("SELECT pg_try_advisory_lock(1)"))

        @private
        def test_next(pg_connection):
            assert pg_connection.scalar(text("SELECT pg_try_advisory_lock(1)"))
            count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            assert pg_connection.scalar(text(count)) == 2
        """,
    )
    result.assert_outcomes(passed=4)


def test_a_transaction_left_open_in_a_private_database_hurts_nobody(shop: Project) -> None:
    result = run(
        shop,
        """
        left = []

        @private
        def test_offender(pg_dsn, pg_engine):
            connection = psycopg.connect(pg_dsn)
            connection.execute("INSERT INTO users (email) VALUES ('left')")
            prepared = psycopg.connect(pg_dsn)
            prepared.execute("INSERT INTO users (email) VALUES ('prepared')")
            prepared.execute("PREPARE TRANSACTION 'left'")
            leaked = pg_engine.connect()
            leaked.execute(insert(User).values(email="leaked"))
            left.extend([connection, prepared, leaked])

        @private
        def test_next(pg_engine):
            assert emails(pg_engine) == []
            assert add(pg_engine, "left") == 1
            assert pg_engine.url.database.endswith("_main_1")
            left.pop().invalidate()
        """,
    )
    result.assert_outcomes(passed=2)


def test_an_engine_that_outlives_its_test_connects_anew(shop: Project) -> None:
    result = run(
        shop,
        """
        engines = {}

        def engine_of(url):
            return engines.setdefault(url, create_engine(url))

        @private
        @pytest.mark.parametrize("n", [1, 2, 3])
        def test_it(pg_url, n):
            assert emails(engine_of(pg_url)) == []
            add(engine_of(pg_url), "a@example.com")
            assert len(engines) == 1
        """,
    )
    result.assert_outcomes(passed=3)


def test_a_test_gets_several_private_databases(shop: Project) -> None:
    result = run(
        shop,
        """
        def test_it(pg_engine, pg_database):
            other, empty = pg_database(), pg_database(empty=True)
            names = {pg_engine.url.database, pg_database.name, other.name, empty.name}
            assert len(names) == 4
            add(pg_database.engine, "a@example.com")
            assert emails(pg_engine) == emails(other.engine) == []
            assert inspect(empty.engine).get_table_names() == []
            other.session.add(User(email="b@example.com"))
            other.session.commit()
            assert emails(other.engine) == ["b@example.com"]

        def test_next(pg_database):
            assert emails(pg_database.engine) == []
            assert emails(pg_database().engine) == []
        """,
    )
    result.assert_outcomes(passed=2)


def test_a_private_database_can_be_the_clone_of_any(shop: Project, outer_url: str) -> None:
    result = run(
        shop,
        """
        def test_template(pg_database, pg_server):
            first = pg_database(empty=True)
            with first.engine.begin() as connection:
                connection.execute(text("CREATE TABLE mine (id int)"))
            first.engine.dispose()
            first.close()
            with pytest.raises(Exception, match="cannot be cloned"):
                pg_database(template="nowhere")
            second = pg_database(template="template1")
            assert inspect(second.engine).get_table_names() == []

        def test_both(pg_database):
            pg_database(template="template1", empty=True)
        """,
    )
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["*a private database cannot be both empty and the clone of a template.*"]
    )


def test_a_fixture_of_a_wider_scope_cannot_use_a_private_database(shop: Project) -> None:
    result = run(
        shop,
        """
        @pytest.fixture(scope="module")
        def app(pg_url): pass

        @private
        def test_it(app): pass
        """,
    )
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*the module-scoped fixture 'app' cannot use pg_url of a private database.",
            "*why: test_it.py::test_it has the isolation database: asked for by the marker;"
            " its database lasts for one test",
            "*do:  make the fixture function-scoped, or give the test another isolation:"
            ' @pytest.mark.berth_pg(isolation="truncation")',
        ]
    )


def test_the_environment_tells_of_the_private_database(shop: Project) -> None:
    shop.models("berth_export = APP_URL = {pg_url}")
    result = run(
        shop,
        """
        AT_IMPORT = os.environ["APP_URL"]

        @private
        def test_private(pg_url):
            assert os.environ["APP_URL"] == pg_url != AT_IMPORT
            # An application that has read its settings already works with the worker's.
            add(create_engine(AT_IMPORT), "early@example.com")

        def test_next(pg_engine):
            assert os.environ["APP_URL"] == AT_IMPORT
            assert emails(pg_engine) == []
        """,
    )
    result.assert_outcomes(passed=2)


def test_seeds_of_the_marker_go_into_the_private_database(shop: Project) -> None:
    (shop.root / "user.sql").write_text("INSERT INTO users (email) VALUES ('seed')")
    result = run(
        shop,
        """
        @pytest.mark.berth_pg(isolation="database", seed="user.sql")
        def test_it(pg_engine):
            assert emails(pg_engine) == ["seed"]

        @private
        def test_next(pg_engine):
            assert emails(pg_engine) == []
        """,
    )
    result.assert_outcomes(passed=2)


def test_a_database_that_is_asked_for_at_run_time_is_private_too(shop: Project) -> None:
    result = run(
        shop,
        """
        @private
        def test_it(request):
            assert name(request.getfixturevalue("pg_url")).endswith("_main_1")
        """,
    )
    result.assert_outcomes(passed=1)


def test_private_databases_are_gone_after_the_run(shop: Project, outer_url: str) -> None:
    shop.plugins = ("xdist",)
    result = run(
        shop,
        """
        @private
        @pytest.mark.parametrize("n", range(8))
        def test_it(pg_engine, pg_database, n):
            add(pg_engine, "a@example.com")
            assert emails(pg_engine) == ["a@example.com"]
            other = pg_database()
            assert emails(other.engine) == []
            with open("used", "a") as used:
                print(pg_engine.url.database, other.name, file=used)
            if n % 3 == 0:
                with pg_engine.begin() as connection:
                    connection.execute(text("DROP TABLE users"))
        """,
        "-n2",
    )
    result.assert_outcomes(passed=8)
    used = set((shop.root / "used").read_text().split())
    with psycopg.connect(outer_url.replace("+psycopg", ""), autocommit=True) as connection:
        found = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
    assert len(used) >= 4
    assert used & found == set()
