"""What a test leaves in sessions, and in psycopg's connections, does not reach the next test."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Project

LEFT = """
import asyncio
import psycopg
import pytest
from psycopg.rows import dict_row
from sqlalchemy import text

SETTINGS = ("search_path", "statement_timeout", "role", "session_replication_role")
LEAVING = (
    "INSERT INTO numbers DEFAULT VALUES",
    "SELECT pg_advisory_lock(42)",
    "CREATE TEMP TABLE staging (x int)",
    "SET search_path = pg_catalog",
    "SET timezone = 'Asia/Tokyo'",
    "SET statement_timeout = 12345",
    "SET session_replication_role = replica",
    "SET my.tenant = 'first'",
    "PREPARE plan AS SELECT 1",
    "DECLARE shown CURSOR WITH HOLD FOR SELECT 1",
    "LISTEN channel",
    "SET ROLE pg_monitor",
)

def leave(connection):
    for statement in LEAVING:
        connection.exec_driver_sql(statement)
    driver = connection.connection.driver_connection
    connection.commit()
    driver.row_factory = dict_row
    driver.prepare_threshold = 0
    driver.adapters.register_loader("int4", psycopg.types.string.TextLoader)
    driver.add_notice_handler(print)

def expect_nothing(connection):
    found = [connection.scalar(text(f"SHOW {each}")) for each in SETTINGS]
    assert found == ['"$user", public', "0", "none", "origin"]
    assert connection.scalar(text("SHOW timezone")) != "Asia/Tokyo"
    assert connection.execute(text('''
        SELECT to_regclass('pg_temp.staging'), nullif(current_setting('my.tenant', true), ''),
            (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 42),
            (SELECT count(*) FROM pg_prepared_statements WHERE name = 'plan'),
            (SELECT count(*) FROM pg_cursors WHERE name = 'shown'),
            (SELECT count(*) FROM pg_listening_channels())
    ''')).one() == (None, None, 0, 0, 0, 0)
    driver = connection.connection.driver_connection
    assert driver.prepare_threshold == 5
    assert len(driver._notice_handlers) == 1  # SQLAlchemy's
    connection.rollback()
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        driver.execute("SELECT lastval()")
    driver.rollback()
"""
COMMITTING = """
from test_left import *
PIDS = set()

@pytest.mark.parametrize("isolation", [
    pytest.param(each, marks=pytest.mark.berth_pg(isolation=each))
    for each in ("truncation", "none", "truncation")
])
def test_a_pool(pg_engine, isolation):
    with pg_engine.connect() as one, pg_engine.connect() as other:
        for connection in one, other:
            PIDS.add(connection.connection.driver_connection.info.backend_pid)
            expect_nothing(connection)
        leave(other)
    assert len(PIDS) == 2

@pytest.mark.berth_pg(isolation="database")
@pytest.mark.parametrize("turn", range(2))
def test_a_private_database(pg_engine, turn):
    with pg_engine.connect() as connection:
        expect_nothing(connection)
        leave(connection)

@pytest.fixture(scope="module")
def owned(pg_engine):
    with pg_engine.connect() as connection:
        connection.exec_driver_sql("SET my.tenant = 'module'")
        connection.commit()
        yield connection

@pytest.mark.parametrize("turn", range(2))
def test_what_a_fixture_has_in_use_stays_its_own(owned, turn):
    assert owned.scalar(text("SHOW my.tenant")) == "module"
    owned.rollback()
"""
ROLLED_BACK = """
from pytest_berth.errors import IsolationError
from test_left import *

@pytest.mark.parametrize("turn", range(2))
def test_it(pg_connection, turn):
    expect_nothing(pg_connection)
    leave(pg_connection)

REFUSED = {
    "isolation_level=SERIALIZABLE": "the isolation level SERIALIZABLE",
    "isolation_level=AUTOCOMMIT": "autocommit",
    "postgresql_readonly=yes": "read-only transactions",
    "postgresql_deferrable=yes": "deferrable transactions",
}

def test_what_one_transaction_cannot_have_is_told_by_its_name(pg_connection):
    for option, name in REFUSED.items():
        with pytest.raises(IsolationError, match=f"cannot have {name}"):
            pg_connection.execution_options(**dict([option.split("=")]))
    pg_connection.execution_options(isolation_level="READ COMMITTED")

@pytest.mark.parametrize("columns", ["x int", "x int, y text", "z date"])
def test_plans(pg_session, columns):
    def use(name, columns):
        pg_session.execute(text(f"CREATE TABLE {name} ({columns})"))
        for _ in range(8):
            pg_session.execute(text(f"SELECT * FROM {name}"))

    use("first", columns)
    assert pg_session.scalar(text("SELECT count(*) FROM pg_prepared_statements")) == 1
    pg_session.rollback()
    use("first", f"other text, {columns}")
    for name, statement in ("second", "DEALLOCATE ALL"), ("third", "SAVEPOINT mine"):
        pg_session.execute(text(statement))
        use(name, columns)
    pg_session.execute(text("ROLLBACK TO SAVEPOINT mine"))
    use("third", f"other text, {columns}")

@pytest.mark.parametrize("columns", ["x int", "x int, y text"])
def test_async_plans(pg_async_session, pg_session, columns):
    async def use():
        await pg_async_session.execute(text(f"CREATE TABLE fourth ({columns})"))
        for _ in range(8):
            await pg_async_session.execute(text("SELECT * FROM fourth"))
        pooled = await (await pg_async_session.connection()).get_raw_connection()
        assert pooled.driver_connection.prepare_threshold == 5
        pooled.driver_connection.prepare_threshold = 3
        pooled.driver_connection.row_factory = dict_row

    asyncio.run(use())
    pg_session.execute(text("SELECT * FROM fourth"))
"""
SET_UP = """
import pytest
from sqlalchemy import Engine, event, text

@event.listens_for(Engine, "connect")
def set_up(connection, record):
    connection.execute("SET timezone = 'Asia/Tokyo'")
    connection.execute("CREATE TEMP TABLE always (x int)")
    connection.commit()

def expect_set_up(connection):
    assert connection.scalar(text("SHOW timezone")) == "Asia/Tokyo"
    assert connection.scalar(text("SELECT count(*) FROM always")) == 0

@pytest.mark.parametrize("turn", range(2))
def test_pool(pg_engine, turn):
    with pg_engine.connect() as connection:
        expect_set_up(connection)

@pytest.mark.parametrize("turn", range(2))
def test_rolled_back(pg_connection, turn):
    expect_set_up(pg_connection)
"""


def test_each_test_has_its_sessions_as_new(served: Project) -> None:
    served.ini("berth_pg_schema = schema.sql")
    (served.root / "schema.sql").write_text("CREATE TABLE numbers (id serial);")
    served.write(test_left=LEFT, test_committing=COMMITTING, test_rolled_back=ROLLED_BACK)
    served.run("-q").assert_outcomes(passed=15)


def test_what_the_application_does_with_each_new_connection_stays_done(served: Project) -> None:
    served.write(test_it=SET_UP)
    served.run("-q").assert_outcomes(passed=4)


POOLS = """
import asyncio
import asyncpg
import psycopg2.pool
import pytest

LOOP = asyncio.new_event_loop()

@pytest.fixture(scope="session")
def tasks(pg_dsn):
    pool = asyncpg.create_pool(pg_dsn, min_size=2, max_size=3, loop=LOOP)
    yield LOOP.run_until_complete(pool)
    LOOP.run_until_complete(pool.close())
    LOOP.close()

@pytest.fixture(scope="session")
def threads(pg_dsn):
    pool = psycopg2.pool.ThreadedConnectionPool(2, 3, pg_dsn)
    yield pool
    pool.closeall()

@pytest.mark.parametrize("columns", ["x int", "x int, y text", "x int, z date"])
def test_it(tasks, threads, columns):
    LOOP.run_until_complete(tasks.execute(f"CREATE TABLE added ({columns})"))
    LOOP.run_until_complete(tasks.execute("INSERT INTO added (x) VALUES (1)"))
    assert len(LOOP.run_until_complete(tasks.fetch("SELECT * FROM added"))) == 1
    connection = threads.getconn()
    with connection, connection.cursor() as cursor:
        cursor.execute("INSERT INTO added (x) VALUES (2)")
        cursor.execute("SELECT count(*) FROM added")
        assert cursor.fetchone() == (2,)
    threads.putconn(connection)
"""


def test_pools_of_other_drivers_connect_anew_after_a_change_of_the_schema(served: Project) -> None:
    served.write(test_it=POOLS)
    served.run("-q").assert_outcomes(passed=3)
