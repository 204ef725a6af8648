"""What a test leaves open in this process: it is told where, and the application can go on."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from marks import nightly

if TYPE_CHECKING:
    from conftest import Project

HEAD = """
import psycopg
import pytest
from sqlalchemy import create_engine, insert, select, text
from models import User

left = []

@pytest.fixture(scope="session")
def app(pg_url):
    engine = create_engine(pg_url, pool_size=1, max_overflow=0, pool_timeout=1)
    yield engine
    engine.dispose()

def emails(bind):
    with bind.connect() as connection:
        return connection.scalars(select(User.email).order_by(User.email)).all()

def pid(connection):
    return connection.scalar(text("SELECT pg_backend_pid()"))

"""


@pytest.fixture
def shop(served: Project) -> Project:
    """A project with a table of users, whose clean-ups do not wait for long."""
    served.models("berth_pg_lock_timeout = 0.3")
    return served


def run(project: Project, tests: str, *arguments: str) -> pytest.RunResult:
    """Run a module of tests."""
    (project.root / "test_it.py").write_text(HEAD + dedent(tests))
    return project.run(*arguments)


def test_a_transaction_is_rolled_back_through_its_connection_and_where_it_was_opened_is_told(
    shop: Project,
) -> None:
    result = run(
        shop,
        """
        def leak(app):
            connection = app.connect()
            connection.execute(insert(User).values(email="left"))
            left.append((connection, pid(connection)))

        def test_offender(app):
            leak(app)

        def test_next(app):
            connection, before = left.pop()
            connection.rollback()
            assert connection.scalars(select(User)).all() == []
            assert pid(connection) == before
            connection.close()
            assert emails(app) == []
        """,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*Transactions outlived the test and were ended.",
            "*idle in transaction for *statement: SELECT pg_backend_pid(); opened at"
            " */test_it.py:*, in leak",
        ]
    )


@pytest.mark.parametrize(
    ("module", "begin"),
    [
        *(("psycopg", ""), ("psycopg2", "BEGIN")),
        *nightly(("psycopg", "BEGIN"), ("psycopg2", "")),
    ],
)
def test_a_connection_without_a_pool_is_found_too(shop: Project, module: str, begin: str) -> None:
    result = run(
        shop,
        f"""
        import {module}

        def test_offender(pg_dsn):
            connection = {module}.connect(pg_dsn)
            connection.autocommit = bool("{begin}")
            connection.cursor().execute("{begin}; INSERT INTO users (email) VALUES ('left')")
            left.append(connection)

        def test_next(pg_dsn):
            cursor = left.pop().cursor()
            cursor.execute("SELECT count(*) FROM users")
            assert cursor.fetchone() == (0,)
            cursor.connection.close()
        """,
    )
    result.assert_outcomes(passed=2, errors=1)


def test_a_statement_that_has_not_written_yet_is_waited_for_though_its_client_has_gone(
    served: Project,
) -> None:
    """It has no transaction id: only its text tells that it may write. One without end is ended."""
    served.models("berth_pg_lock_timeout = 1")
    result = run(
        served,
        """
        ACTIVE = text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE state = 'active' AND pid <> pg_backend_pid() AND query LIKE '%pg_sleep%'"
        )

        def still_runs(app):
            with app.connect() as connection:
                return connection.scalar(ACTIVE) > 0

        def send_and_go(app, pg_dsn, statement):
            connection = psycopg.connect(pg_dsn, autocommit=True).pgconn
            connection.send_query(statement.encode())
            while not still_runs(app):
                connection.flush()
            connection.finish()

        @pytest.mark.parametrize("statement", [
            "INSERT INTO users (email) SELECT 'late' FROM pg_sleep(0.3)",
            "SELECT pg_sleep(0.3); COMMIT; INSERT INTO users (email) VALUES ('late')",
        ])
        def test_sent(app, pg_dsn, statement):
            emails(app)
            send_and_go(app, pg_dsn, statement)

        def test_a_row_first(app, pg_dsn):
            with app.begin() as connection:
                connection.execute(insert(User).values(email="early"))

        def test_next(app):
            assert not still_runs(app)
            assert emails(app) == []

        def test_without_end(app, pg_dsn):
            send_and_go(app, pg_dsn, "INSERT INTO users (email) SELECT 'x' FROM pg_sleep(60)")

        def test_last(app):
            assert not still_runs(app)
            assert emails(app) == []
        """,
        "-p",
        "no:randomly",
    )
    result.assert_outcomes(passed=6, errors=1)
    result.stdout.fnmatch_lines(
        ["*ERROR at teardown of test_without_end*", "*, active for *pg_sleep(60)*"]
    )


def test_a_connection_that_still_works_is_ended_and_the_pool_goes_on(shop: Project) -> None:
    result = run(
        shop,
        """
        import threading

        def test_offender(app):
            def work():
                with app.connect() as connection:
                    connection.execute(insert(User).values(email="left"))
                    connection.execute(text("SELECT pg_sleep(60)"))

            thread = threading.Thread(target=work)
            thread.start()
            left.append(thread)
            with psycopg.connect(app.url.render_as_string(False).replace("+psycopg", "")) as conn:
                # Others work on this server, too.
                query = (
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE wait_event = 'PgSleep' AND datname = current_database()"
                )
                while not conn.execute(query).fetchone()[0]:
                    conn.commit()

        @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
        def test_next(app):
            left.pop().join(60)
            assert emails(app) == []
        """,
        "-Wignore::pytest.PytestUnhandledThreadExceptionWarning",
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*pg_sleep*opened at */test_it.py:*, in work"])


def test_the_applications_pool_survives_that_the_database_is_replaced(shop: Project) -> None:
    result = run(
        shop,
        """
        def test_offender(app):
            with app.begin() as connection:
                connection.execute(text("CREATE TABLE extra (id int)"))

        def test_next(app):
            assert emails(app) == []
            with app.connect() as connection:
                assert connection.scalar(text("SELECT to_regclass('extra')")) is None
        """,
    )
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ['*test_offender changed the schema (table extra was created*isolation="database")*']
    )


def test_psycopgs_own_pool_survives_it_too(shop: Project) -> None:
    result = run(
        shop,
        """
        from psycopg_pool import ConnectionPool

        @pytest.fixture(scope="session")
        def pool(pg_dsn):
            with ConnectionPool(pg_dsn, min_size=2, max_size=2) as opened:
                opened.wait()
                yield opened

        def test_offender(pool):
            with pool.connection() as connection:
                connection.execute("CREATE TABLE extra (id int)")

        def test_next(pool):
            for _ in range(3):
                with pool.connection() as connection:
                    assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
        """,
    )
    result.assert_outcomes(passed=2)


def test_what_a_thread_writes_after_its_test_is_gone_before_the_next(shop: Project) -> None:
    shop.conftest(
        """
        import pytest

        @pytest.hookimpl(wrapper=True)
        def pytest_runtest_teardown(item):
            result = yield
            # A write after the clean-up stands for a thread's.
            for late in item.funcargs.get("later", ()):
                late()
            return result
        """
    )
    result = run(
        shop,
        """
        def add(engine, email):
            with engine.begin() as connection:
                connection.execute(insert(User).values(email=email))

        @pytest.fixture
        def later():
            return []

        @pytest.mark.parametrize("n", [1, 2])
        def test_offender(app, later, n):
            later.append(lambda: add(app, "late@example.com"))
            assert emails(app) == []

        def test_next(app):
            assert emails(app) == []

        @pytest.mark.berth_pg(isolation="none")
        def test_what_is_not_to_be_put_back(app):
            add(app, "kept@example.com")

        def test_it_is_there(app):
            assert emails(app) == ["kept@example.com"]
        """,
    )
    result.assert_outcomes(passed=5)
