"""What other connections leave open is ended, named, and never waited for in vain."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres import restore
from pytest_berth.services.postgres.restore.open_transactions import redacted
from pytest_berth.waiting import wait_for

from .conftest import LOCK_TIMEOUT

if TYPE_CHECKING:
    from .conftest import Connection, Database

SEEDED = "CREATE TABLE item (id serial PRIMARY KEY, name text); INSERT INTO item VALUES (1, 'x')"


@pytest.fixture(autouse=True)
def _seeded(db: Database) -> None:
    db.app.execute(SEEDED)


def pid_of(connection: Connection) -> int:
    pid: int = connection.info.backend_pid
    return pid


def test_a_writer_left_open_is_ended_and_named_and_the_database_is_clean(db: Database) -> None:
    db.capture()
    left = db.connect()
    left.execute("UPDATE item SET name = 'left'")
    db.app.execute("INSERT INTO item VALUES (2, 'committed')")
    assert db.changed()
    with pytest.raises(restore.LeftOpen) as caught:
        db.restore_only()
    assert caught.value.restored
    db.compare()
    (opened,) = caught.value.transactions
    assert (opened.pid, opened.application) == (pid_of(left), "shop")
    assert opened.state == "idle in transaction"
    assert opened.age >= LOCK_TIMEOUT
    assert opened.tables == ("public.item",)
    for part in (f"pid {opened.pid}", "UPDATE item SET name = 'left'", "close or commit"):
        assert part in str(caught.value)
    with pytest.raises(psycopg.OperationalError):
        left.execute("SELECT 1")
    assert db.restore().tables == ()


def test_a_writer_that_commits_in_time_is_no_error(db: Database) -> None:
    baseline = db.capture()
    slow = db.connect()
    slow.execute("INSERT INTO item VALUES (2, 'slow')")
    ending = threading.Timer(LOCK_TIMEOUT / 3, slow.commit)
    ending.start()
    # On a busy machine the timer may be late.
    restored = restore.restore(db.berth, baseline, lock_timeout=60)
    assert restored.tables == ("public.item",)
    db.compare()
    ending.join()


def test_a_statement_that_still_runs_is_ended(db: Database) -> None:
    db.capture()
    busy = db.connect()
    busy.execute("INSERT INTO item VALUES (2, 'busy')")
    failures: list[BaseException] = []

    def run() -> None:
        try:
            busy.execute("SELECT pg_sleep(60)")
        except psycopg.OperationalError as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
    wait_for(lambda: db.app.execute(query, [pid_of(busy)]).fetchone(), 60)
    with pytest.raises(restore.LeftOpen, match="pg_sleep"):
        db.restore_only()
    thread.join(60)
    assert failures
    db.compare()


def test_an_uncommitted_new_table_of_a_leftover_is_no_schema_change(db: Database) -> None:
    db.capture()
    db.connect().execute("CREATE TABLE extra (x int)")
    with pytest.raises(restore.LeftOpen) as caught:
        db.restore_only()
    assert caught.value.restored
    db.compare()


def test_a_leftover_beside_a_schema_change_leaves_no_clean_database(db: Database) -> None:
    db.capture()
    db.app.execute("CREATE TABLE extra (x int)")
    db.connect().execute("INSERT INTO item VALUES (2, 'left')")
    with pytest.raises(restore.LeftOpen) as caught:
        db.restore_only()
    assert caught.value.restored is None


def test_a_transaction_open_before_the_baseline_stays(db: Database) -> None:
    wider = db.connect()
    wider.execute("SELECT 1")
    db.capture()
    wider.execute("CREATE TABLE of_the_session (x int)")
    db.app.execute("INSERT INTO item VALUES (2, 'new')")
    began = time.monotonic()
    db.restore()
    assert time.monotonic() - began < 5
    wider.execute("SELECT * FROM of_the_session")


def test_rows_of_an_older_transaction_that_commits_later_are_noticed(db: Database) -> None:
    wider = db.connect()
    wider.execute("INSERT INTO item VALUES (2, 'of the session')")
    db.capture()
    db.app.execute("INSERT INTO item VALUES (3, 'new')")
    db.restore()
    wider.commit()
    assert db.changed()
    assert db.restore().tables == ("public.item",)


def test_an_update_of_an_older_transaction_that_commits_later_is_undone(db: Database) -> None:
    wider = db.connect()
    wider.execute("UPDATE item SET name = 'of the session'")
    db.app.execute("CREATE TABLE later (x int)")
    db.capture()
    wider.commit()
    assert db.restore().tables == ("public.item",)


def test_repairs_are_not_dirt_themselves_while_an_older_transaction_runs(db: Database) -> None:
    wider = db.connect()
    wider.execute("CREATE TABLE of_the_session (x int)")
    db.capture()
    db.app.execute("CREATE TEMP TABLE mine (x int); UPDATE item SET name = 'new'")
    for _ in range(3):
        assert db.restore().tables == ("public.item",)
        assert not db.changed()
        db.app.execute("INSERT INTO mine VALUES (1)")
        assert db.restore().tables == ()
        db.app.execute("UPDATE item SET name = 'new'")


def test_an_older_transaction_that_holds_a_lock_in_the_way_is_named_in_time(db: Database) -> None:
    wider = db.connect(application_name="fixture")
    wider.execute("SELECT 1")
    db.capture()
    db.app.execute("INSERT INTO item VALUES (2, 'new')")
    wider.execute("LOCK TABLE item IN SHARE MODE")
    began = time.monotonic()
    with pytest.raises(restore.LeftOpen, match="fixture") as caught:
        db.restore_only()
    assert time.monotonic() - began < 60 * LOCK_TIMEOUT
    assert caught.value.restored is None
    assert [opened.pid for opened in caught.value.transactions] == [pid_of(wider)]
    wider.rollback()
    db.restore()


def test_a_row_locked_by_an_older_prepared_transaction_is_named(db: Database) -> None:
    db.app.execute("INSERT INTO item VALUES (2, 'y')")
    wider = db.connect()
    wider.execute("UPDATE item SET name = 'prepared' WHERE id = 1")
    wider.execute("PREPARE TRANSACTION 'of the session'")
    db.capture()
    db.app.execute("DELETE FROM item WHERE id = 2")
    with pytest.raises(restore.LeftOpen, match="prepared transaction 'of the session'") as caught:
        db.restore_only()
    assert caught.value.restored is None


def test_a_reader_in_the_way_of_an_exclusive_lock_is_ended(db: Database) -> None:
    db.app.execute("CREATE MATERIALIZED VIEW seen AS SELECT * FROM item")
    db.capture()
    db.app.execute("REFRESH MATERIALIZED VIEW seen")
    bystander = db.connect()
    bystander.execute("SELECT * FROM item")
    reader = db.connect()
    reader.execute("SELECT * FROM seen")
    with pytest.raises(restore.LeftOpen) as caught:
        db.restore_only()
    assert caught.value.restored
    assert [opened.pid for opened in caught.value.transactions] == [pid_of(reader)]
    db.compare()
    bystander.execute("SELECT 1")


def test_a_prepared_transaction_is_rolled_back(db: Database) -> None:
    before = db.connect()
    before.execute("CREATE TABLE of_the_session (x int)")
    before.execute("PREPARE TRANSACTION 'before'")
    db.capture()
    left = db.connect()
    left.execute("UPDATE item SET name = 'prepared'")
    left.execute("PREPARE TRANSACTION 'it''s left'")
    assert db.changed()
    assert db.restore().prepared == ("it's left",)
    assert db.app.execute("SELECT gid FROM pg_prepared_xacts").fetchall() == [("before",)]


def test_the_end_of_the_baselines_connection_is_told(db: Database) -> None:
    db.capture()
    db.app.execute("INSERT INTO item VALUES (2, 'new')")
    db.app.execute("SELECT pg_terminate_backend(%s)", [pid_of(db.berth)])
    with pytest.raises(restore.BaselineLost, match="baseline was closed"):
        db.restore_only()


def test_capture_names_who_locks_a_table(db: Database) -> None:
    left = db.connect()
    left.execute("LOCK TABLE item IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(IsolationError, match=f"pid {pid_of(left)}"):
        db.capture()


@pytest.mark.parametrize(
    "statement",
    [
        "ALTER ROLE app PASSWORD 'hunter2'",
        "CREATE USER MAPPING FOR app SERVER s OPTIONS (user 'a', password 'it''s \\'hunter2')",
        "SELECT dblink('host=x password=hunter2')",
        "INSERT INTO users (password) VALUES ($$hunter2$$)",
        "SELECT connect('postgresql://app:hunter2@host/db')",
        "ALTER ROLE app PASSWORD 'hunter2",
    ],
)
def test_a_password_in_a_statement_is_not_shown(statement: str) -> None:
    assert "hunter2" not in redacted(statement)
    assert redacted(statement).startswith(statement[:6])
