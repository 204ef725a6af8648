"""Suites of projects with SQLAlchemy 1.4, whose driver is psycopg2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pytest_berth.run.reuse import kept_states
from pytest_berth.services.postgres import sqlalchemy_compat
from temporary import open_home

if TYPE_CHECKING:
    from conftest import Project

pytestmark = pytest.mark.skipif(sqlalchemy_compat.is_two(), reason="nox -s floors runs it with 1.4")

MODELS = """
    from sqlalchemy import Column, Integer, String
    from sqlalchemy.orm import declarative_base

    Base = declarative_base()

    class User(Base):
        __tablename__ = "users"
        id = Column(Integer, primary_key=True)
        email = Column(String, unique=True)

    def seed(connection):
        connection.execute(User.__table__.insert().values(email="ada"))
"""
TESTS = """
    import pytest
    import sqlalchemy as sa
    from sqlalchemy.orm import Session
    from models import User, seed

    def emails(session):
        return session.scalars(sa.select(User.email).order_by(User.id)).all()

    @pytest.mark.parametrize("time", [1, 2])
    def test_session(pg_session, time):
        pg_session.add(User(email="eve"))
        pg_session.commit()
        pg_session.add(User(email="eve"))
        with pytest.raises(sa.exc.IntegrityError):
            pg_session.commit()
        pg_session.rollback()
        assert emails(pg_session) == ["ada", "eve"]
        assert [user.id for user in pg_session.query(User).yield_per(1)] == [1, 2]

    @pytest.mark.berth_pg(seed=[seed_twice := (lambda connection: connection.execute(
        User.__table__.insert().values(email="bob")))])
    def test_seeds(pg_session):
        assert emails(pg_session) == ["ada", "bob"]

    @pytest.mark.parametrize("time", [1, 2])
    def test_connection(pg_connection, pg_session, time):
        pg_connection.execute(sa.text("INSERT INTO users (email) VALUES ('eve')"))
        with pytest.raises(sa.exc.ProgrammingError):
            pg_connection.execute(sa.text("TABLE nothing"))
        assert emails(pg_session) == ["ada", "eve"]
        with pytest.raises(Exception, match="cannot have autocommit"):
            pg_connection.execution_options(isolation_level="AUTOCOMMIT")

    @pytest.mark.parametrize("time", [1, 2])
    def test_engine(pg_engine, pg_url, time):
        assert pg_url.startswith("postgresql+psycopg2://")
        with Session(pg_engine) as session:
            session.add(User(email="eve"))
            session.commit()
            assert emails(session) == ["ada", "eve"]

    def test_schema(pg_engine):
        with pg_engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE users ADD more int"))

    @pytest.mark.parametrize("time", [1, 2])
    def test_private(pg_database, time):
        pg_database.session.add(User(email="eve"))
        pg_database.session.commit()
        assert emails(pg_database.session) == ["ada", "eve"]
"""


def test_the_fixtures_but_those_for_asyncio_work(served: Project) -> None:
    served.write(models=MODELS, test_it=TESTS)
    served.ini("berth_pg_schema = models:Base", "berth_pg_seed = models:seed")
    served.run("-Wignore").assert_outcomes(passed=10)


def test_a_transaction_that_the_test_has_ended_is_told(served: Project) -> None:
    served.write(
        models=MODELS,
        test_it="""
            from models import User
            from sqlalchemy import text

            def test_ends(pg_connection):
                pg_connection.execute(text("INSERT INTO users (email) VALUES ('eve')"))
                pg_connection.execute(text("COMMIT"))

            def test_next(pg_session):
                assert pg_session.query(User).count() == 0

            def test_async(pg_async_session): pass

            def test_fails(pg_session):
                pg_session.add(User(email="ada"))
                pg_session.commit()
                pg_session.add(User(email="ada"))
                pg_session.flush()
        """,
    )
    served.ini("berth_pg_schema = models:Base")
    result = served.run("-Wignore")
    result.assert_outcomes(passed=2, failed=1, errors=2)
    result.stdout.fnmatch_lines(["users_email_key: one row of public.users for each (email)"])
    result.stdout.fnmatch_lines(
        [
            "the test ended the transaction that it was to be rolled back with.",
            "pg_async_session needs SQLAlchemy 2.0.16 or newer.",
        ]
    )


def test_what_failed_stays(
    served: Project, outer_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.write(
        models=MODELS,
        test_it="""
            from models import User
            from sqlalchemy import text

            def test_uncommitted(pg_session):
                pg_session.add(User(email="eve"))
                pg_session.flush()
                assert False

            def test_aborted(pg_session):
                pg_session.add(User(email="before"))
                pg_session.commit()
                pg_session.execute(text("TABLE nothing"))

            def test_clean(pg_session):
                assert pg_session.query(User).count() == 0
        """,
    )
    served.ini("berth_pg_schema = models:Base")
    with open_home() as place:
        monkeypatch.setenv("TMPDIR", str(place))
        monkeypatch.setattr("tempfile.tempdir", str(place))
        served.run("-Wignore", "--berth-keep-failed").assert_outcomes(passed=1, failed=2)
        found = {}
        for state in kept_states.all_of_user():
            dsn = outer_url.replace("+psycopg2", "").rpartition("/")[0] + f"/{state.name}"
            with psycopg.connect(dsn) as connection:
                rows = connection.execute("SELECT email FROM users").fetchall()
            found[state.nodeid.rpartition(":")[2]] = rows
    assert found == {"test_uncommitted": [("eve",)], "test_aborted": [("before",)]}


def test_migrations_run(served: Project) -> None:
    pytest.importorskip("alembic", exc_type=ImportError)
    served.write(models=MODELS)
    (served.root / "migrations" / "versions").mkdir(parents=True)
    (served.root / "alembic.ini").write_text("[alembic]\nscript_location = migrations\n")
    (served.root / "migrations" / "env.py").write_text(
        "from alembic import context\n"
        "from sqlalchemy import create_engine\n"
        "engine = create_engine(context.config.get_main_option('sqlalchemy.url'))\n"
        "with engine.begin() as connection:\n"
        "    context.configure(connection=connection)\n"
        "    with context.begin_transaction():\n"
        "        context.run_migrations()\n"
    )
    (served.root / "migrations" / "versions" / "a.py").write_text(
        "from alembic import op\n"
        "revision, down_revision = 'a', None\n"
        "def upgrade():\n"
        "    op.execute('CREATE TABLE users (id serial, email text)')\n"
    )
    served.ini("berth_pg_schema = alembic: alembic.ini")
    served.write(
        test_it="""
            from models import User

            def test_it(pg_session):
                assert pg_session.query(User).count() == 0
        """
    )
    served.run("-Wignore").assert_outcomes(passed=1)
