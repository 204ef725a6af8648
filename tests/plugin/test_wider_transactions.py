"""A transaction of a class or of a fixture of a wider scope is its owner's, whenever it begins."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

HEAD = """
import os
import unittest
import psycopg
import pytest
from sqlalchemy import create_engine, func, insert, select, text
from sqlalchemy.orm import Session
from models import User

@pytest.fixture(scope="session")
def app(pg_url):
    engine = create_engine(pg_url)
    yield engine
    engine.dispose()

def require_empty(app):
    with app.connect() as connection:
        assert count(connection) == 0

def add(connection, email):
    connection.execute(insert(User).values(email=email))

def count(connection):
    return connection.scalar(select(func.count()).select_from(User))

"""


@pytest.fixture
def shop(served: Project) -> Project:
    """A project with a table of users; a clean-up that waits for a transaction waits for long."""
    served.models(
        "berth_pg_lock_timeout = 30",
        "berth_export = DATABASE_URL = {pg_url}",
        "berth_autouse = pg",
    )
    return served


def run(project: Project, tests: str, *arguments: str) -> pytest.RunResult:
    """Run a module of tests."""
    (project.root / "test_it.py").write_text(HEAD + dedent(tests))
    return project.run(*arguments)


def test_transactions_of_classes_and_wider_fixtures_are_left_alone(shop: Project) -> None:
    result = run(
        shop,
        """
        class TestOfUnittest(unittest.TestCase):
            @classmethod
            def setUpClass(cls):
                # BEGIN is sent with the first query, which is a test's.
                cls.engine = create_engine(os.environ["DATABASE_URL"])
                cls.connection = cls.engine.connect()
                cls.transaction = cls.connection.begin()

            @classmethod
            def tearDownClass(cls):
                cls.transaction.rollback()
                cls.connection.close()
                cls.engine.dispose()

            def test_first(self):
                add(self.connection, "class")

            def test_second(self):
                assert count(self.connection) == 1

        @pytest.fixture(scope="class")
        def begun(app):
            with app.connect() as connection, connection.begin() as transaction:
                yield connection
                transaction.rollback()

        @pytest.fixture(scope="module")
        def not_begun(app):
            with app.connect() as connection:
                yield connection

        @pytest.fixture(scope="module")
        def by_psycopg(pg_dsn):
            with psycopg.connect(pg_dsn) as connection:
                with connection.transaction(force_rollback=True):
                    yield connection

        class TestOfClass:
            def test_first(self, begun, app):
                add(begun, "class")
                with app.begin() as other:
                    add(other, "test")

            def test_second(self, begun, app):
                assert count(begun) == 1
                with Session(begun, join_transaction_mode="create_savepoint") as session:
                    session.add(User(email="session"))
                    session.commit()

            def test_third(self, begun):
                assert count(begun) == 2
                require_empty(begun.engine)

        def test_after_the_class(app):
            require_empty(app)

        def test_a_connection_that_a_module_has_taken(not_begun):
            add(not_begun, "module")

        def test_it_goes_on(not_begun, app):
            assert count(not_begun) == 1
            require_empty(app)

        def test_psycopg(by_psycopg):
            by_psycopg.execute("INSERT INTO users (email) VALUES ('psycopg')")

        def test_psycopg_goes_on(by_psycopg):
            assert by_psycopg.execute("SELECT count(*) FROM users").fetchone() == (1,)

        def test_one_that_comes_late(request, app):
            add(request.getfixturevalue("late"), "late")

        @pytest.fixture(scope="module")
        def late(app):
            with app.connect() as connection:
                yield connection

        def test_it_goes_on_too(late, app):
            assert count(late) == 1
            with app.begin() as other:
                add(other, "test")
        """,
    )
    result.assert_outcomes(passed=12)


def test_what_a_test_has_taken_from_a_pool_stays_its_fault_and_is_told_each_time(
    shop: Project,
) -> None:
    shop.models("berth_pg_lock_timeout = 0.3")
    result = run(
        shop,
        """
        left = []

        def test_offender(app):
            left.append(app.connect())
            add(left[0], "left")

        def test_next_offender(app):
            assert count(left[0]) == 0
            add(left[0], "left")

        def test_next(app):
            with app.connect() as connection:
                assert count(connection) == 0
        """,
    )
    result.assert_outcomes(passed=3, errors=2)
