"""Applications with several databases, several schemas, or roles of few rights."""

from __future__ import annotations

from textwrap import dedent
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest

from marks import nightly
from pytest_berth import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Project

HEAD = """
import os
import psycopg
import pytest
from sqlalchemy import create_engine, text

def names(bind):
    with bind.connect() as connection:
        return connection.scalars(text("SELECT name FROM invoice ORDER BY id")).all()

def add(bind, name="new"):
    with bind.begin() as connection:
        connection.execute(text("INSERT INTO invoice (name) VALUES (:name)"), {"name": name})

"""
BILLING = "CREATE TABLE invoice (id serial PRIMARY KEY, name text);"
SEED = "INSERT INTO invoice (name) VALUES ('seed');"
SETTINGS = (
    "berth_pg_schema = main.sql",
    "berth_pg_databases =",
    "    billing = billing.sql; seed.sql",
    "    audit = billing.sql",
)


@pytest.fixture
def shop(served: Project) -> Project:
    """A project with three databases."""
    (served.root / "main.sql").write_text("CREATE TABLE main (id int)")
    (served.root / "billing.sql").write_text(BILLING)
    (served.root / "seed.sql").write_text(SEED)
    served.ini(*SETTINGS)
    return served


def run(project: Project, tests: str, *arguments: str) -> pytest.RunResult:
    """Run a module of tests."""
    (project.root / "test_it.py").write_text(HEAD + dedent(tests))
    return project.run(*arguments)


@pytest.mark.parametrize("isolation", ["auto", "database", *nightly("truncation")])
def test_each_database_has_its_schema_and_seeds_and_a_clean_slate(
    shop: Project, isolation: str
) -> None:
    shop.ini(*SETTINGS, f"berth_pg_isolation = {isolation}")
    result = run(
        shop,
        """
        @pytest.mark.parametrize("n", [1, 2, 3])
        def test_it(pg_databases, pg_session, n):
            assert list(pg_databases) == ["billing", "audit"]
            billing, audit = pg_databases["billing"], pg_databases["audit"]
            assert names(billing.engine) == ["seed"]
            assert names(create_engine(audit.url)) == []
            with psycopg.connect(billing.dsn) as connection:
                connection.execute("DELETE FROM invoice")
            audit.session.execute(text("INSERT INTO invoice (name) VALUES ('new')"))
            audit.session.commit()
            assert names(audit.engine) == ["new"]
            assert audit.connection.scalar(text("SELECT max(id) FROM invoice")) == 1
            pg_session.execute(text("INSERT INTO main VALUES (1)"))
            pg_session.commit()
            assert pg_session.scalar(text("SELECT count(*) FROM main")) == 1
            found = {billing.name, audit.name, pg_session.scalar(text("SELECT current_database()"))}
            assert len(found) == 3
        """,
    )
    result.assert_outcomes(passed=3)


def test_a_rolled_back_test_has_its_transaction_in_each(shop: Project) -> None:
    result = run(
        shop,
        """
        @pytest.mark.berth_pg(isolation="rollback")
        @pytest.mark.parametrize("n", [1, 2])
        def test_it(pg_databases, n):
            session = pg_databases["billing"].session
            assert session.scalar(text("SELECT count(*) FROM invoice")) == 1
            session.execute(text("DELETE FROM invoice"))
            session.commit()
            assert names(pg_databases["billing"].engine) == ["seed"]
        """,
    )
    result.assert_outcomes(passed=2)


def test_exported_databases_are_there_and_clean(shop: Project) -> None:
    shop.ini(
        *SETTINGS, "berth_export =", "    BILLING = {pg_billing_url}", "    A = {pg_audit_database}"
    )
    result = run(
        shop,
        """
        BILLING, AUDIT = os.environ["BILLING"], os.environ["A"]

        @pytest.mark.parametrize("n", [1, 2])
        def test_it(pg_session, n):
            engine = create_engine(BILLING)
            assert names(engine) == ["seed"]
            add(engine)

        @pytest.mark.berth_pg(isolation="database")
        def test_private(pg_databases):
            assert pg_databases["billing"].url == os.environ["BILLING"] != BILLING
            assert names(pg_databases["billing"].engine) == ["seed"]
            assert pg_databases["audit"].name == os.environ["A"] != AUDIT
        """,
        "-vv",
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*(postgres truncation: berth_export is another way in)*"])


def test_a_schema_change_in_one_of_them_makes_only_that_one_anew(shop: Project) -> None:
    result = run(
        shop,
        """
        def test_offender(pg_databases):
            with pg_databases["billing"].engine.begin() as connection:
                connection.execute(text("DROP TABLE invoice"))

        def test_next(pg_databases):
            assert names(pg_databases["billing"].engine) == ["seed"]
        """,
    )
    result.assert_outcomes(passed=2)


def test_a_fixture_of_the_session_uses_them(shop: Project) -> None:
    shop.plugins = ("xdist",)
    result = run(
        shop,
        """
        @pytest.fixture(scope="session")
        def app(pg_databases):
            add(pg_databases["billing"].engine, "of the session")
            return create_engine(pg_databases["billing"].url)

        @pytest.mark.parametrize("n", range(4))
        def test_it(app, n):
            assert names(app) == ["seed", "of the session"]
            add(app)

        @pytest.fixture(scope="session")
        def wrong(pg_databases):
            return pg_databases["audit"].session

        def test_wrong(wrong): pass
        """,
        "-n2",
    )
    result.assert_outcomes(passed=4, errors=1)
    result.stdout.fnmatch_lines(["*session and connection of a named database are a test's.*"])


def test_what_a_wider_fixture_writes_into_them_ends_with_it(shop: Project) -> None:
    # One database is there before the fixture, the other one is made by it.
    result = run(
        shop,
        """
        @pytest.fixture(scope="class")
        def written(pg_databases):
            add(pg_databases["billing"].engine, "of the class")
            add(pg_databases["audit"].engine, "of the class")

        def test_first(pg_databases):
            assert names(pg_databases["billing"].engine) == ["seed"]

        class TestWithTheFixture:
            @pytest.mark.parametrize("number", range(2))
            def test_it(self, written, pg_databases, number):
                assert names(pg_databases["billing"].engine) == ["seed", "of the class"]
                assert names(pg_databases["audit"].engine) == ["of the class"]
                add(pg_databases["billing"].engine, "of the test")

        def test_later(pg_databases):
            assert names(pg_databases["billing"].engine) == ["seed"]
            assert names(pg_databases["audit"].engine) == []
        """,
        "-p",
        "no:randomly",
    )
    result.assert_outcomes(passed=4)


def test_a_name_that_is_not_there_is_an_error(shop: Project) -> None:
    result = run(shop, 'def test_it(pg_databases): pg_databases["biling"]')
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "*there is no database 'biling' in berth_pg_databases.",
            "*why: berth_pg_databases = billing = billing.sql; seed.sql | audit = billing.sql *",
            "*did you mean 'billing'*",
        ]
    )


@pytest.mark.parametrize("line", ["billing", "Billing = a.sql", "a_b = a.sql"])
def test_a_line_that_is_none_ends_the_run(shop: Project, line: str) -> None:
    shop.ini("berth_pg_databases =", f"    {line}")
    result = run(shop, "def test_it(pg_databases): pass")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*berth_pg_databases has a value that cannot be used.*"])


def test_a_file_that_is_not_there_is_told_before_the_first_test(shop: Project) -> None:
    shop.ini("berth_pg_databases = billing = nowhere.sql")
    result = run(shop, "def test_it(pg_databases): pass")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*no file matches 'nowhere.sql'.", "*", "*billing in berth_pg_databases*"]
    )


def test_tenants_with_schemas_of_their_own_are_put_back(served: Project) -> None:
    tenants = "".join(
        f"CREATE SCHEMA {name}; CREATE TABLE {name}.invoice (id serial PRIMARY KEY, name text);"
        f"INSERT INTO {name}.invoice (name) VALUES ('{name}');"
        for name in ("north", "south")
    )
    (served.root / "schema.sql").write_text(tenants)
    served.ini("berth_pg_schema = schema.sql")
    result = run(
        served,
        """
        @pytest.mark.parametrize("tenant", ["north", "south", "north"])
        def test_it(pg_engine, tenant):
            engine = pg_engine.execution_options(schema_translate_map={None: tenant})
            with pg_engine.begin() as connection:
                connection.execute(text(f"SET LOCAL search_path = {tenant}"))
                found = connection.scalars(text("SELECT name FROM invoice")).all()
                assert found == [tenant]
                added = "INSERT INTO invoice (name) VALUES ('new') RETURNING id"
                assert connection.scalar(text(added)) == 2
                connection.execute(text("DELETE FROM invoice WHERE id = 1"))
        """,
    )
    result.assert_outcomes(passed=3)


@pytest.fixture
def role(outer_url: str) -> Iterator[str]:
    """A role of the server that may log in, and nothing else yet."""
    name = f"app_{uuid4().hex[:8]}"
    with psycopg.connect(outer_url.replace("+psycopg", ""), autocommit=True) as conn:
        conn.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'secret'".encode())
        yield name
        # Another run on this server may be dropping the template that names the role.
        drop, in_use = f"DROP ROLE {name}".encode(), psycopg.errors.DependentObjectsStillExist
        wait_for(lambda: conn.execute(drop), 60, ignore=in_use)


def test_the_application_works_as_a_role_of_few_rights(served: Project, role: str) -> None:
    (served.root / "schema.sql").write_text(
        "CREATE TABLE invoice (id serial PRIMARY KEY, name text);"
        "ALTER TABLE invoice ENABLE ROW LEVEL SECURITY;"
        "CREATE POLICY own ON invoice USING (name = current_user);"
        f"GRANT SELECT, INSERT ON invoice TO {role};"
        f"GRANT USAGE ON SEQUENCE invoice_id_seq TO {role};"
        "INSERT INTO invoice (name) VALUES ('of another');"
    )
    served.ini("berth_pg_schema = schema.sql")
    served.conftest(
        f"""
        import pytest
        from sqlalchemy import make_url

        @pytest.fixture(scope="session")
        def pg_url(pg_url):
            url = make_url(pg_url).set(username="{role}", password="secret")
            return url.render_as_string(hide_password=False)
        """
    )
    result = run(
        served,
        f"""
        from sqlalchemy.exc import ProgrammingError

        @pytest.mark.parametrize("n", [1, 2, 3])
        def test_it(pg_url, pg_engine, n):
            app = create_engine(pg_url)
            assert names(app) == []
            add(app, "{role}")
            assert names(app) == ["{role}"]
            assert names(pg_engine) == ["of another", "{role}"]
            with pytest.raises(ProgrammingError, match="permission denied"):
                with app.begin() as connection:
                    connection.execute(text("DELETE FROM invoice"))
        """,
        "-vv",
    )
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*(postgres truncation: pg_url is another way in)*"])


def test_fixtures_are_asked_for_while_a_test_runs_in_each_order(shop: Project) -> None:
    result = run(
        shop,
        """
        from itertools import permutations

        FIXTURES = ["pg_url", "pg_engine", "pg_session", "pg_database", "pg_databases"]

        def use(found, name):
            if name == "pg_session":
                assert found.scalar(text("SELECT count(*) FROM main")) == 0
                found.execute(text("INSERT INTO main VALUES (1)"))
                found.commit()
            elif name == "pg_databases":
                session = found["audit"].session
                assert session.scalar(text("SELECT count(*) FROM invoice")) == 0
                session.execute(text("INSERT INTO invoice (name) VALUES ('new')"))
                session.commit()

        def test_first(pg_databases):
            use(pg_databases, "pg_databases")

        def test_session_comes_late(request):
            use(request.getfixturevalue("pg_session"), "pg_session")

        def test_session_comes_late_and_databases_do_not(request, pg_databases):
            use(pg_databases, "pg_databases")
            use(request.getfixturevalue("pg_session"), "pg_session")

        @pytest.mark.parametrize("names", permutations(FIXTURES, 2), ids="-".join)
        def test_two_come_late(request, names):
            for name in names:
                use(request.getfixturevalue(name), name)

        def test_nothing_is_left(pg_databases, pg_engine):
            assert names(pg_databases["audit"].engine) == []
            with pg_engine.connect() as connection:
                assert connection.scalar(text("SELECT count(*) FROM main")) == 0
        """,
    )
    result.assert_outcomes(passed=24)
