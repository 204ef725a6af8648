"""What fixtures of a wider scope write: there for the tests in their scope, and gone after it."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING

import pytest

from marks import nightly

if TYPE_CHECKING:
    from conftest import Project

SUPPORT = """
import pytest
from sqlalchemy import create_engine, insert, select, text
from models import User

def add(engine, *emails):
    with engine.begin() as connection:
        for email in emails:
            connection.execute(insert(User).values(email=email))

def emails(engine):
    with engine.connect() as connection:
        return set(connection.scalars(select(User.email)))
"""
WIDE = """
import pytest
from support import *

@pytest.fixture(scope="session")
def of_session(pg_engine):
    add(pg_engine, "session")
    return {"session"}

@pytest.fixture(scope="session")
def later_of_session(pg_engine):
    add(pg_engine, "later")
    return {"later"}
"""
IN_PACKAGE = """
import pytest
from support import *

@pytest.fixture(scope="package")
def of_package(pg_engine):
    add(pg_engine, "package")
    return {"package"}
"""
TESTS = """
import pytest
from support import *

# Which of them have been set up depends on the order of tests; each fixture says what it added.
there = set()

@pytest.fixture(scope="module")
def of_module(pg_engine):
    add(pg_engine, "module")
    there.add("module")
    yield
    there.discard("module")

@pytest.fixture(scope="class")
def of_class(pg_engine):
    add(pg_engine, "class")
    there.add("class")
    yield
    there.discard("class")

OURS = {"module", "class"}

@pytest.fixture(autouse=True)
def exact(pg_engine, request):
    wanted = {n[3:] for n in request.fixturenames if n.startswith("of_")}
    found = emails(pg_engine)
    assert wanted <= found
    assert found & OURS == there
    assert "test" not in found
    # In another order of modules, a session's or package's fixture may have been there before.
    assert found <= OURS | {"session", "later", "package"}
    add(pg_engine, "test")
    yield
    add(pg_engine, "teardown")

def test_plain(): pass

def test_module(of_module): pass

def test_session(of_session): pass

def test_all(of_session, of_package, of_module): pass

def test_later(later_of_session, of_module): pass

class TestOne:
    def test_class(self, of_class): pass
    def test_class_and_module(self, of_class, of_module): pass
    def test_class_and_later(self, of_class, later_of_session): pass

class TestTwo:
    def test_no_class(self): pass
    def test_class(self, of_class, of_session): pass
"""


@pytest.fixture
def suite(served: Project) -> Project:
    """A project with fixtures of every scope, two packages and four modules."""
    served.models()
    (served.root / "support.py").write_text(SUPPORT)
    served.conftest(WIDE)
    for package in ("one", "two"):
        folder = served.root / package
        folder.mkdir()
        (folder / "__init__.py").touch()
        (folder / "conftest.py").write_text(IN_PACKAGE)
        for module in ("a", "b"):
            (folder / f"test_{package}_{module}.py").write_text(TESTS)
    return served


def run(project: Project, tests: str, *arguments: str) -> pytest.RunResult:
    """Run a module of tests."""
    (project.root / "support.py").write_text(SUPPORT)
    (project.root / "test_it.py").write_text("from support import *\n" + dedent(tests))
    return project.run(*arguments)


@pytest.fixture
def shop(served: Project) -> Project:
    """A project with a table of users."""
    served.models()
    return served


def test_each_layer_is_there_for_its_scope_and_gone_after_it(suite: Project) -> None:
    suite.run().assert_outcomes(passed=40)


@pytest.mark.parametrize("seed", [1, *nightly(2, 3)])
def test_it_is_so_in_any_order(suite: Project, seed: int) -> None:
    suite.plugins = ("randomly",)
    suite.run(f"--randomly-seed={seed}").assert_outcomes(passed=40)


def test_it_is_so_under_xdist(suite: Project) -> None:
    suite.plugins = ("xdist",)
    suite.run("-n", "2").assert_outcomes(passed=40)


def test_what_a_module_changes_and_deletes_is_put_back_after_it(shop: Project) -> None:
    shop.models("berth_pg_seed = seeds:add")
    shop.write(
        seeds="""
            from models import User
            from sqlalchemy import insert

            def add(connection):
                connection.execute(insert(User), [{"email": "one"}, {"email": "two"}])
        """,
        test_a="""
            from support import *

            @pytest.fixture(scope="module", autouse=True)
            def changed(pg_engine):
                with pg_engine.begin() as connection:
                    connection.execute(text("UPDATE users SET email = 'ONE' WHERE id = 1"))
                    connection.execute(text("DELETE FROM users WHERE id = 2"))

            @pytest.mark.parametrize("n", range(2))
            def test_it(pg_engine, n):
                assert emails(pg_engine) == {"ONE"}
                add(pg_engine, "test")
        """,
        test_b="""
            from support import *

            def test_it(pg_engine):
                assert emails(pg_engine) == {"one", "two"}
        """,
    )
    run(
        shop,
        """
        def test_ids_go_on(pg_session):
            user = User(email="new")
            pg_session.add(user)
            pg_session.commit()
            assert user.id == 3
        """,
    ).assert_outcomes(passed=4)


def test_a_fixture_with_parameters_begins_anew_with_each(shop: Project) -> None:
    result = run(
        shop,
        """
        @pytest.fixture(scope="module", params=["x", "y"])
        def each(request, pg_engine):
            add(pg_engine, "same", request.param)
            return request.param

        @pytest.mark.parametrize("n", range(2))
        def test_it(each, pg_engine, n):
            assert emails(pg_engine) == {"same", each}
        """,
    )
    result.assert_outcomes(passed=4)


def test_a_fixture_that_comes_in_the_middle_of_a_test_keeps_what_it_wrote(shop: Project) -> None:
    result = run(
        shop,
        """
        @pytest.fixture(scope="session")
        def late(pg_engine):
            add(pg_engine, "late")

        @pytest.fixture(scope="class")
        def early(pg_engine):
            add(pg_engine, "early")

        class TestIt:
            def test_first(self, early, request, pg_engine):
                add(pg_engine, "first")
                request.getfixturevalue("late")
                assert emails(pg_engine) == {"early", "first", "late"}

            def test_second(self, early, late, pg_engine):
                assert emails(pg_engine) == {"early", "late"}

        def test_third(late, pg_engine):
            assert emails(pg_engine) == {"late"}
            add(pg_engine, "another")
            with pg_engine.connect() as connection:
                assert connection.scalars(select(User.id).order_by(User.id)).all() == [3, 4]
        """,
    )
    result.assert_outcomes(passed=3)


def test_tables_that_a_fixture_creates_late_are_put_back_as_well(shop: Project) -> None:
    shop.ini()
    result = run(
        shop,
        """
        from models import Base

        @pytest.fixture(scope="module")
        def before(pg_engine):
            pass

        @pytest.fixture(scope="session")
        def tables(pg_engine):
            Base.metadata.create_all(pg_engine)
            add(pg_engine, "session")

        def test_none_yet(before, pg_engine):
            with pg_engine.connect() as connection:
                assert connection.scalar(text("SELECT to_regclass('users')")) is None

        @pytest.mark.parametrize("n", range(2))
        def test_it(tables, before, pg_engine, n):
            assert emails(pg_engine) == {"session"}
            add(pg_engine, "test")
        """,
    )
    result.assert_outcomes(passed=3)


def test_an_open_transaction_of_the_session_does_not_hold_up_the_clean_up(shop: Project) -> None:
    result = run(
        shop,
        """
        @pytest.fixture(scope="session")
        def open_for_long(pg_engine):
            add(pg_engine, "committed")
            with pg_engine.connect() as connection:
                connection.execute(insert(User).values(email="pending"))
                connection.execute(text("SELECT count(*) FROM users"))
                yield connection

        @pytest.mark.parametrize("n", range(3))
        def test_it(open_for_long, pg_engine, n):
            assert emails(pg_engine) == {"committed"}
            add(pg_engine, "test")
            with pg_engine.begin() as connection:
                connection.execute(text("UPDATE users SET email = 'x' WHERE email = 'committed'"))

        def test_it_is_open_still(open_for_long):
            found = set(open_for_long.scalars(select(User.email)))
            assert found == {"committed", "pending"}
        """,
        "--durations=0",
    )
    result.assert_outcomes(passed=4)
    result.stdout.no_fnmatch_line("*[0-9][0-9].[0-9]*s teardown*")


def test_rolled_back_tests_see_what_the_scopes_hold(shop: Project) -> None:
    result = run(
        shop,
        """
        class TestIt:
            @pytest.fixture(scope="class", autouse=True)
            def of_class(self, pg_engine):
                add(pg_engine, "class")

            @pytest.mark.berth_pg(isolation="rollback")
            def test_rolled_back(self, pg_session):
                assert pg_session.scalars(select(User.email)).all() == ["class"]
                pg_session.add(User(email="test"))
                pg_session.commit()

            def test_truncated(self, pg_engine):
                assert emails(pg_engine) == {"class"}

        def test_after(pg_session):
            assert pg_session.scalars(select(User.email)).all() == []
        """,
    )
    result.assert_outcomes(passed=3)


def test_setup_functions_of_modules_and_classes_are_fixtures_too(shop: Project) -> None:
    shop.models("berth_export = DATABASE_URL = {pg_url}")
    shop.conftest("import pytest\n@pytest.fixture(autouse=True)\ndef database(pg_url): pass")
    result = run(
        shop,
        """
        import os

        class TestOld:
            @classmethod
            def setup_class(cls):
                cls.engine = create_engine(os.environ["DATABASE_URL"])
                add(cls.engine, "class")

            @classmethod
            def teardown_class(cls):
                cls.engine.dispose()

            @pytest.mark.parametrize("n", range(2))
            def test_it(self, n):
                assert emails(self.engine) == {"class"}
                add(self.engine, "test")

        def test_after(pg_engine):
            assert emails(pg_engine) == set()
        """,
    )
    result.assert_outcomes(passed=3)


def test_a_module_that_changes_the_schema_leaves_none_of_it(shop: Project) -> None:
    shop.write(
        test_a="""
            from support import *

            @pytest.fixture(scope="module")
            def table(pg_engine):
                with pg_engine.begin() as connection:
                    connection.execute(text("CREATE TABLE extra (id int)"))
                    connection.execute(text("INSERT INTO extra VALUES (1)"))

            @pytest.mark.parametrize("n", range(2))
            def test_it(table, pg_engine, n):
                with pg_engine.begin() as connection:
                    assert connection.scalar(text("SELECT count(*) FROM extra")) == 1
                    connection.execute(text("INSERT INTO extra VALUES (2)"))
        """
    )
    result = run(
        shop,
        """
        def test_after(pg_engine):
            with pg_engine.connect() as connection:
                assert connection.scalar(text("SELECT to_regclass('extra')")) is None
            assert emails(pg_engine) == set()
        """,
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(
        ["*postgres: the fixture table changed the schema (*extra was created*"]
    )


def test_a_test_that_drops_all_schemas_leaves_later_ones_a_database(shop: Project) -> None:
    result = run(
        shop,
        """
        @pytest.fixture(scope="module", autouse=True)
        def of_the_module(pg_engine):
            pass

        def test_drops(pg_engine):
            with pg_engine.begin() as connection:
                connection.execute(text("DROP SCHEMA public, information_schema CASCADE"))

        def test_after(pg_engine):
            assert emails(pg_engine) == set()
            with pg_engine.connect() as connection:
                assert connection.scalar(text("SELECT count(*) FROM information_schema.tables"))

        def test_after_that(pg_session):
            assert pg_session.scalar(text("SELECT count(*) FROM users")) == 0
        """,
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["berth: *::test_drops changed the schema (*"])
