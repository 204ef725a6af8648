"""How each test gets its clean slate, and which way is chosen."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

HEAD = """
import pytest
from sqlalchemy import create_engine, insert, select, text
from sqlalchemy.exc import IntegrityError
from models import User

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


CHOICES = {
    "pg_session": "rollback: pg_session and pg_connection are the only way in",
    "pg_connection": "rollback: pg_session and pg_connection are the only way in",
    "pg_server": "rollback: pg_session and pg_connection are the only way in",
    "pg_url": "truncation: pg_url is another way in",
    "pg_dsn": "truncation: pg_dsn is another way in",
    "pg_engine": "truncation: pg_engine is another way in",
    "pg_session, pg_engine": "truncation: pg_engine is another way in",
}


def test_auto_chooses_by_the_ways_in(shop: Project) -> None:
    tests = (f"def test_{i}({fixtures}): pass" for i, fixtures in enumerate(CHOICES))
    result = run(shop, "\n".join(tests), "-vv")
    result.stdout.fnmatch_lines(
        [f"*::test_{i} PASSED (postgres {CHOICES[way]})*" for i, way in enumerate(CHOICES)]
    )


def test_auto_sees_a_way_in_behind_a_fixture_of_the_suite(shop: Project) -> None:
    result = run(
        shop,
        """
        @pytest.fixture
        def app(pg_url): pass

        def test_it(pg_session, app): pass
        """,
        "-vv",
    )
    result.stdout.fnmatch_lines(["*PASSED (postgres truncation: pg_url is another way in)*"])


def test_auto_takes_exported_settings_for_a_way_in(shop: Project) -> None:
    shop.models("berth_export = DATABASE_URL = {pg_url}")
    result = run(shop, "def test_it(pg_session): pass", "-vv")
    result.stdout.fnmatch_lines(["*PASSED (postgres truncation: berth_export is another way in)*"])


def test_the_ini_file_chooses_for_all(shop: Project) -> None:
    shop.models("berth_pg_isolation = truncation")
    result = run(shop, "def test_it(pg_session): pass", "-vv")
    result.stdout.fnmatch_lines(["*PASSED (postgres truncation: set by pytest.ini)*"])


def test_the_marker_chooses_for_one_and_may_go_back_to_auto(shop: Project) -> None:
    shop.models("berth_pg_isolation = truncation")
    result = run(
        shop,
        """
        @pytest.mark.berth_pg(isolation="rollback")
        def test_rollback(pg_session): pass

        @pytest.mark.berth_pg(isolation="auto")
        def test_auto(pg_session): pass
        """,
        "-vv",
    )
    result.stdout.fnmatch_lines(
        [
            "*test_rollback PASSED (postgres rollback: asked for by the marker)*",
            "*test_auto PASSED (postgres rollback: pg_session and pg_connection are the only *",
        ]
    )


COMMITTING = """
    @pytest.mark.parametrize("n", [1, 2])
    def test_session(pg_session, n):
        pg_session.add(User(email="a@example.com"))
        pg_session.commit()
        pg_session.expire_all()
        assert [user.id for user in pg_session.scalars(select(User))] == [1]

    @pytest.mark.parametrize("n", [1, 2])
    def test_connection(pg_connection, n):
        pg_connection.execute(insert(User).values(email="a@example.com"))
        pg_connection.commit()
        assert pg_connection.scalars(select(User.id)).all() == [1]

    @pytest.mark.parametrize("n", [1, 2])
    def test_an_integrity_error_leaves_the_session_usable(pg_session, n):
        pg_session.add(User(email="a@example.com"))
        pg_session.commit()
        pg_session.add(User(email="a@example.com"))
        with pytest.raises(IntegrityError):
            pg_session.commit()
        pg_session.rollback()
        pg_session.add(User(email="b@example.com"))
        pg_session.commit()
        found = pg_session.scalars(select(User.email).order_by(User.email)).all()
        assert found == ["a@example.com", "b@example.com"]

    @pytest.mark.parametrize("n", [1, 2, 3])
    def test_sequences_start_again(pg_session, n):
        for expected in (1, 2):
            user = User(email=f"{expected}@example.com")
            pg_session.add(user)
            pg_session.flush()
            assert user.id == expected

    def test_last(pg_session):
        assert pg_session.scalar(text("SELECT is_called FROM users_id_seq")) is False
"""


@pytest.mark.parametrize("isolation", ["rollback", "truncation"])
def test_what_a_test_commits_is_seen_and_gone_afterwards(shop: Project, isolation: str) -> None:
    shop.models(f"berth_pg_isolation = {isolation}")
    run(shop, COMMITTING).assert_outcomes(passed=10)


def test_a_rolled_back_test_works_with_transactions_as_any_other(shop: Project) -> None:
    result = run(
        shop,
        """
        def test_session(pg_session):
            pg_session.add(User(email="kept@example.com"))
            pg_session.commit()
            pg_session.add(User(email="lost@example.com"))
            pg_session.flush()
            pg_session.rollback()
            assert pg_session.scalars(select(User.email)).all() == ["kept@example.com"]

        def test_connection(pg_connection):
            pg_connection.execute(insert(User).values(email="kept@example.com"))
            pg_connection.commit()
            pg_connection.execute(insert(User).values(email="lost@example.com"))
            pg_connection.rollback()
            assert pg_connection.scalars(select(User.email)).all() == ["kept@example.com"]

        def test_session_and_connection_see_the_same(pg_session, pg_connection):
            pg_session.add(User(email="a@example.com"))
            pg_session.commit()
            assert pg_connection.scalars(select(User.email)).all() == ["a@example.com"]

        def test_nested(pg_session):
            with pytest.raises(IntegrityError), pg_session.begin_nested():
                pg_session.add(User(id=1, email="a@example.com"))
                pg_session.flush()
                pg_session.execute(insert(User).values(id=1, email="b@example.com"))
            with pg_session.begin_nested():
                pg_session.add(User(email="c@example.com"))
            pg_session.commit()
            assert pg_session.scalars(select(User.email)).all() == ["c@example.com"]
        """,
    )
    result.assert_outcomes(passed=4)


def test_truncation_puts_rows_seeds_sequences_and_views_back(served: Project) -> None:
    served.ini("berth_pg_schema = schema.sql", "berth_pg_seed = seed.sql")
    (served.root / "schema.sql").write_text(
        "CREATE TABLE item (id serial PRIMARY KEY, name text, price int);"
        "CREATE TABLE sale (id serial PRIMARY KEY, item int REFERENCES item);"
        "CREATE SEQUENCE invoice START 100;"
        "CREATE MATERIALIZED VIEW total AS SELECT sum(price) AS price FROM item;"
    )
    (served.root / "seed.sql").write_text(
        "INSERT INTO item (name, price) VALUES ('one', 1), ('two', 2);"
        "SELECT nextval('invoice'); REFRESH MATERIALIZED VIEW total;"
    )
    served.write(
        test_it="""
            import pytest
            from sqlalchemy import text

            def contents(engine):
                with engine.connect() as connection:
                    queries = (
                        "SELECT * FROM item ORDER BY id",
                        "SELECT * FROM sale ORDER BY id",
                        "SELECT last_value, is_called FROM invoice",
                        "SELECT last_value, is_called FROM item_id_seq",
                        "SELECT price FROM total",
                    )
                    return [connection.execute(text(q)).all() for q in queries]

            @pytest.mark.parametrize("n", [1, 2, 3])
            def test_it(pg_engine, n):
                assert contents(pg_engine) == [
                    [(1, "one", 1), (2, "two", 2)], [], [(100, True)], [(2, True)], [(3,)]
                ]
                with pg_engine.begin() as connection:
                    connection.execute(text("INSERT INTO item (name, price) VALUES ('x', 7)"))
                    connection.execute(text("UPDATE item SET price = 5 WHERE id = 1"))
                    connection.execute(text("DELETE FROM item WHERE id = 2"))
                    connection.execute(text("INSERT INTO sale (item) VALUES (1)"))
                    connection.execute(text("SELECT nextval('invoice')"))
                    connection.execute(text("REFRESH MATERIALIZED VIEW total"))
                assert contents(pg_engine)[4] == [(12,)]
        """
    )
    served.run().assert_outcomes(passed=3)


def test_rows_of_a_wider_scope_stay_for_their_scope(shop: Project) -> None:
    shop.write(
        test_scopes="""
            import pytest
            from sqlalchemy import insert, select
            from models import User

            def emails(bind):
                with bind.connect() as connection:
                    return set(connection.scalars(select(User.email)))

            @pytest.fixture(scope="module")
            def module_user(pg_engine):
                with pg_engine.begin() as connection:
                    connection.execute(insert(User).values(email="module"))

            @pytest.fixture(scope="class")
            def class_user(pg_engine):
                with pg_engine.begin() as connection:
                    connection.execute(insert(User).values(email="class"))
                yield
                with pg_engine.begin() as connection:
                    connection.execute(User.__table__.delete().where(User.email == "class"))

            @pytest.fixture
            def function_user(pg_engine):
                with pg_engine.begin() as connection:
                    connection.execute(insert(User).values(email="function"))

            def test_first(pg_engine):
                assert emails(pg_engine) == set()

            def test_module(pg_engine, module_user, function_user):
                assert emails(pg_engine) == {"module", "function"}

            class TestClass:
                def test_one(self, pg_engine, module_user, class_user):
                    assert emails(pg_engine) == {"module", "class"}

                def test_two(self, pg_engine, class_user, function_user):
                    assert emails(pg_engine) == {"module", "class", "function"}

                def test_rolled_back(self, pg_session, class_user):
                    found = set(pg_session.scalars(select(User.email)))
                    assert found == {"module", "class"}

            def test_after_class(pg_engine):
                assert emails(pg_engine) == {"module"}
        """
    )
    shop.run("-p", "no:cacheprovider").assert_outcomes(passed=6)


OFFENDERS = {
    "ends": """
        @pytest.mark.parametrize("sql", ["COMMIT", "ROLLBACK", "COMMIT; BEGIN", "ROLLBACK; BEGIN"])
        def test_ends(pg_connection, sql):
            pg_connection.execute(insert(User).values(email="leak@example.com"))
            pg_connection.exec_driver_sql(sql)
    """,
    "autocommit": """
        def test_autocommit(pg_connection):
            pg_connection.execution_options(isolation_level="AUTOCOMMIT")
    """,
    "fails": """
        def test_fails(pg_session):
            pg_session.add(User(email="a@example.com"))
            pg_session.commit()
            pg_session.execute(text("SELECT 1 / 0"))
    """,
    "fails truncated": """
        def test_fails_truncated(pg_engine):
            with pg_engine.begin() as connection:
                connection.execute(insert(User).values(email="a@example.com"))
            assert False
    """,
    "leaves the session broken": """
        def test_broken(pg_session):
            with pytest.raises(Exception):
                pg_session.execute(text("SELECT 1 / 0"))
    """,
    "loses the connection": """
        def test_loses_it(pg_connection):
            with pytest.raises(Exception):
                pg_connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
    """,
    "is cut off": """
        def test_is_cut_off(pg_connection):
            pid = pg_connection.scalar(text("SELECT pg_backend_pid()"))
            other = create_engine(pg_connection.engine.url)
            with other.connect() as connection:
                connection.execute(text(f"SELECT pg_terminate_backend({pid}, 60000)"))
            other.dispose()
    """,
    "commits on another connection": """
        def test_loses_it_and_goes_on(pg_connection):
            with pytest.raises(Exception):
                pg_connection.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))
            pg_connection.rollback()
            pg_connection.execute(insert(User).values(email="leak@example.com"))
            pg_connection.commit()
    """,
    "is late": """
        @pytest.fixture
        def writer(pg_session):
            yield
            pg_session.add(User(email="late@example.com"))
            pg_session.commit()

        def test_late(writer): pass
    """,
    "is late truncated": """
        @pytest.fixture
        def committer(pg_engine):
            yield
            with pg_engine.begin() as connection:
                connection.execute(insert(User).values(email="late@example.com"))

        def test_late_truncated(committer): pass
    """,
}
NEXT = """
    def test_next_{number}(pg_session):
        assert pg_session.scalars(select(User)).all() == []
        pg_session.add(User(email="a@example.com"))
        pg_session.commit()
        assert pg_session.scalars(select(User.id)).all() == [1]

    def test_engine_{number}(pg_engine):
        with pg_engine.connect() as connection:
            assert connection.scalars(select(User.email)).all() == []
"""


def test_whatever_a_test_does_to_its_transaction_the_next_one_finds_a_clean_slate(
    shop: Project,
) -> None:
    parts = [
        dedent(part)
        for number, offender in enumerate(OFFENDERS.values())
        for part in (offender, NEXT.format(number=number))
    ]
    result = run(shop, "\n".join(parts), "-v")
    result.assert_outcomes(passed=10 + 2 * len(OFFENDERS), failed=3, errors=4)
    result.stdout.fnmatch_lines(
        [
            "*the test ended the transaction that it was to be rolled back with.",
            "*why: it sent COMMIT, ROLLBACK or BEGIN as SQL text on a rolled-back connection",
            '*do:  give it real transactions: @pytest.mark.berth_pg(isolation="truncation")',
        ]
    )
    for sql in ("COMMIT", "ROLLBACK", "COMMIT; BEGIN", "ROLLBACK; BEGIN"):
        assert f"ERROR at teardown of test_ends[{sql}]" in result.stdout.str()
    result.stdout.fnmatch_lines(["*a rolled-back test cannot have autocommit.*"])


def test_none_leaves_what_a_test_commits(shop: Project) -> None:
    result = run(
        shop,
        """
        @pytest.mark.berth_pg(isolation="none")
        def test_writer(pg_session):
            pg_session.add(User(email="a@example.com"))
            pg_session.commit()

        @pytest.mark.berth_pg(isolation="none")
        def test_reader(pg_session):
            assert pg_session.scalars(select(User.email)).all() == ["a@example.com"]
        """,
    )
    result.assert_outcomes(passed=2)


def test_a_lock_that_a_test_left_fails_it_with_who_holds_it(shop: Project) -> None:
    shop.models("berth_pg_lock_timeout = 0.3")
    result = run(
        shop,
        """
        held = []

        def test_holder(pg_engine):
            with pg_engine.begin() as connection:
                connection.execute(insert(User).values(email="a@example.com"))
            left = pg_engine.connect()
            left.exec_driver_sql("SET application_name = 'forgetful'")
            left.execute(text("LOCK TABLE users"))
            held.append(left)

        def test_next(pg_engine):
            held.pop().invalidate()
            with pg_engine.connect() as connection:
                assert connection.scalars(select(User.email)).all() == []
        """,
    )
    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*forgetful*idle in transaction*"])
