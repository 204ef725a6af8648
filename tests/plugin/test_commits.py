"""What happens at a commit is real: the application's commits are no savepoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Project

SCHEMA = """
CREATE TABLE accounts (
    id int PRIMARY KEY,
    partner int REFERENCES accounts DEFERRABLE INITIALLY DEFERRED,
    balance int NOT NULL DEFAULT 0
);
CREATE TABLE audit (account int, at timestamptz DEFAULT now());
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN INSERT INTO audit (account) VALUES (NEW.id); RETURN NULL; END$$;
CREATE CONSTRAINT TRIGGER noted AFTER INSERT ON accounts
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
CREATE MATERIALIZED VIEW totals AS SELECT count(*) AS n FROM accounts;
"""
TESTS = """
import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError, OperationalError

PREPARED = "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()"

def scalar(engine, query):
    with engine.connect() as connection:
        return connection.scalar(text(query))

@pytest.fixture(autouse=True)
def clean(pg_engine):
    query = "SELECT (SELECT count(*) FROM accounts) + (SELECT count(*) FROM audit)"
    assert scalar(pg_engine, query) == 0
    assert scalar(pg_engine, "SELECT n FROM totals") == 0
    assert scalar(pg_engine, PREPARED) == 0
    assert scalar(
        pg_engine,
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database ="
        " (SELECT oid FROM pg_database WHERE datname = current_database())",
    ) == 0

def test_deferred_constraints_fail_at_commit(pg_engine):
    with pg_engine.connect() as connection:
        connection.execute(text("INSERT INTO accounts (id, partner) VALUES (1, 2)"))
        with pytest.raises(IntegrityError):
            connection.commit()

def test_triggers_fire_at_commit(pg_engine):
    with pg_engine.connect() as connection:
        connection.execute(text("INSERT INTO accounts (id) VALUES (1)"))
        assert connection.scalar(text("SELECT count(*) FROM audit")) == 0
        connection.commit()
        assert connection.scalar(text("SELECT account FROM audit")) == 1

def test_notifications_arrive(pg_dsn):
    with psycopg.connect(pg_dsn, autocommit=True) as listener, psycopg.connect(pg_dsn) as other:
        listener.execute("LISTEN news")
        other.execute("NOTIFY news, 'hello'")
        assert list(listener.notifies(timeout=0.1)) == []
        other.commit()
        (found,) = listener.notifies(timeout=60, stop_after=1)
        assert found.payload == "hello"

def test_advisory_locks_conflict(pg_engine):
    with pg_engine.connect() as one, pg_engine.connect() as other:
        take = text("SELECT pg_try_advisory_lock(42)")
        assert one.scalar(take)
        assert not other.scalar(take)
        one.scalar(text("SELECT pg_advisory_unlock(42)"))
        assert other.scalar(take)
        other.invalidate()

def test_serializable_conflicts_are_raised(pg_engine):
    serializable = pg_engine.execution_options(isolation_level="SERIALIZABLE")
    with pg_engine.begin() as connection:
        connection.execute(text("INSERT INTO accounts (id, balance) VALUES (1, 1), (2, 1)"))
    with serializable.connect() as one, serializable.connect() as other:
        for connection, account in ((one, 1), (other, 2)):
            assert connection.scalar(text("SELECT sum(balance) FROM accounts")) == 2
            connection.execute(text(f"UPDATE accounts SET balance = -0 WHERE id = {account}"))
        one.commit()
        with pytest.raises(OperationalError, match="could not serialize access"):
            other.commit()

def test_now_moves(pg_engine):
    with pg_engine.connect() as connection:
        first = connection.scalar(text("SELECT now()"))
        connection.commit()
        assert connection.scalar(text("SELECT now()")) > first

def test_materialized_views_are_refreshed(pg_engine):
    with pg_engine.begin() as connection:
        connection.execute(text("INSERT INTO accounts (id) VALUES (1), (2)"))
    with pg_engine.begin() as connection:
        connection.execute(text("REFRESH MATERIALIZED VIEW totals"))
    assert scalar(pg_engine, "SELECT n FROM totals") == 2

def test_two_phase_commits_that_are_left_are_rolled_back(pg_engine):
    with pg_engine.connect() as connection:
        transaction = connection.begin_twophase()
        connection.execute(text("INSERT INTO accounts (id) VALUES (1)"))
        transaction.prepare()
        assert scalar(pg_engine, PREPARED) == 1
        connection.invalidate()

def test_the_next_one_is_clean(pg_engine):
    pass
"""


def test_commits_are_real_and_gone_after_the_test(served: Project) -> None:
    (served.root / "schema.sql").write_text(SCHEMA)
    served.ini("berth_pg_schema = schema.sql")
    (served.root / "test_it.py").write_text(TESTS)
    served.run().assert_outcomes(passed=9)


def test_they_are_real_under_xdist_too(served: Project) -> None:
    (served.root / "schema.sql").write_text(SCHEMA)
    served.ini("berth_pg_schema = schema.sql")
    (served.root / "test_it.py").write_text(TESTS)
    served.plugins = ("xdist",)
    served.run("-n", "2").assert_outcomes(passed=9)
