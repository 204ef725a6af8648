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
    from .conftest import Connection, Slate

SEEDED = "CREATE TABLE item (id serial PRIMARY KEY, name text); INSERT INTO item VALUES (1, 'x')"


@pytest.fixture(autouse=True)
def _seeded(slate: Slate) -> None:
    slate.app.execute(SEEDED)


def pid_of(connection: Connection) -> int:
    pid: int = connection.info.backend_pid
    return pid


def test_a_writer_left_open_is_ended_and_named_and_the_database_is_clean(slate: Slate) -> None:
    slate.capture()
    left = slate.connect()
    left.execute("UPDATE item SET name = 'left'")
    slate.app.execute("INSERT INTO item VALUES (2, 'committed')")
    assert slate.changed()
    with pytest.raises(restore.LeftOpen) as caught:
        slate.restore_only()
    assert caught.value.restored
    slate.compare()
    (opened,) = caught.value.transactions
    assert (opened.pid, opened.application) == (pid_of(left), "shop")
    assert opened.state == "idle in transaction"
    assert opened.age >= LOCK_TIMEOUT
    assert opened.tables == ("public.item",)
    for part in (f"pid {opened.pid}", "UPDATE item SET name = 'left'", "close or commit"):
        assert part in str(caught.value)
    with pytest.raises(psycopg.OperationalError):
        left.execute("SELECT 1")
    assert slate.restore().tables == ()


def test_a_writer_that_commits_in_time_is_no_error(slate: Slate) -> None:
    baseline = slate.capture()
    slow = slate.connect()
    slow.execute("INSERT INTO item VALUES (2, 'slow')")
    ending = threading.Timer(LOCK_TIMEOUT / 3, slow.commit)
    ending.start()
    # On a busy machine the timer may be late.
    restored = restore.restore(slate.berth, baseline, lock_timeout=60)
    assert restored.tables == ("public.item",)
    slate.compare()
    ending.join()


def test_a_statement_that_still_runs_is_ended(slate: Slate) -> None:
    slate.capture()
    busy = slate.connect()
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
    wait_for(lambda: slate.app.execute(query, [pid_of(busy)]).fetchone(), 60)
    with pytest.raises(restore.LeftOpen, match="pg_sleep"):
        slate.restore_only()
    thread.join(60)
    assert failures
    slate.compare()


def test_an_uncommitted_new_table_of_a_leftover_is_no_schema_change(slate: Slate) -> None:
    slate.capture()
    slate.connect().execute("CREATE TABLE extra (x int)")
    with pytest.raises(restore.LeftOpen) as caught:
        slate.restore_only()
    assert caught.value.restored
    slate.compare()


def test_a_leftover_beside_a_schema_change_leaves_no_clean_database(slate: Slate) -> None:
    slate.capture()
    slate.app.execute("CREATE TABLE extra (x int)")
    slate.connect().execute("INSERT INTO item VALUES (2, 'left')")
    with pytest.raises(restore.LeftOpen) as caught:
        slate.restore_only()
    assert caught.value.restored is None


def test_a_transaction_open_before_the_baseline_stays(slate: Slate) -> None:
    wider = slate.connect()
    wider.execute("SELECT 1")
    slate.capture()
    wider.execute("CREATE TABLE of_the_session (x int)")
    slate.app.execute("INSERT INTO item VALUES (2, 'new')")
    began = time.monotonic()
    slate.restore()
    assert time.monotonic() - began < 5
    wider.execute("SELECT * FROM of_the_session")


def test_rows_of_an_older_transaction_that_commits_later_are_noticed(slate: Slate) -> None:
    wider = slate.connect()
    wider.execute("INSERT INTO item VALUES (2, 'of the session')")
    slate.capture()
    slate.app.execute("INSERT INTO item VALUES (3, 'new')")
    slate.restore()
    wider.commit()
    assert slate.changed()
    assert slate.restore().tables == ("public.item",)


def test_an_update_of_an_older_transaction_that_commits_later_is_undone(slate: Slate) -> None:
    wider = slate.connect()
    wider.execute("UPDATE item SET name = 'of the session'")
    slate.app.execute("CREATE TABLE later (x int)")
    slate.capture()
    wider.commit()
    assert slate.restore().tables == ("public.item",)


def test_repairs_are_not_dirt_themselves_while_an_older_transaction_runs(slate: Slate) -> None:
    wider = slate.connect()
    wider.execute("CREATE TABLE of_the_session (x int)")
    slate.capture()
    slate.app.execute("CREATE TEMP TABLE mine (x int); UPDATE item SET name = 'new'")
    for _ in range(3):
        assert slate.restore().tables == ("public.item",)
        assert not slate.changed()
        slate.app.execute("INSERT INTO mine VALUES (1)")
        assert slate.restore().tables == ()
        slate.app.execute("UPDATE item SET name = 'new'")


def test_an_older_transaction_that_holds_a_lock_in_the_way_is_named_in_time(slate: Slate) -> None:
    wider = slate.connect(application_name="fixture")
    wider.execute("SELECT 1")
    slate.capture()
    slate.app.execute("INSERT INTO item VALUES (2, 'new')")
    wider.execute("LOCK TABLE item IN SHARE MODE")
    began = time.monotonic()
    with pytest.raises(restore.LeftOpen, match="fixture") as caught:
        slate.restore_only()
    assert time.monotonic() - began < 60 * LOCK_TIMEOUT
    assert caught.value.restored is None
    assert [opened.pid for opened in caught.value.transactions] == [pid_of(wider)]
    wider.rollback()
    slate.restore()


def test_a_row_locked_by_an_older_prepared_transaction_is_named(slate: Slate) -> None:
    slate.app.execute("INSERT INTO item VALUES (2, 'y')")
    wider = slate.connect()
    wider.execute("UPDATE item SET name = 'prepared' WHERE id = 1")
    wider.execute("PREPARE TRANSACTION 'of the session'")
    slate.capture()
    slate.app.execute("DELETE FROM item WHERE id = 2")
    with pytest.raises(restore.LeftOpen, match="prepared transaction 'of the session'") as caught:
        slate.restore_only()
    assert caught.value.restored is None


def test_a_reader_in_the_way_of_an_exclusive_lock_is_ended(slate: Slate) -> None:
    slate.app.execute("CREATE MATERIALIZED VIEW seen AS SELECT * FROM item")
    slate.capture()
    slate.app.execute("REFRESH MATERIALIZED VIEW seen")
    bystander = slate.connect()
    bystander.execute("SELECT * FROM item")
    reader = slate.connect()
    reader.execute("SELECT * FROM seen")
    with pytest.raises(restore.LeftOpen) as caught:
        slate.restore_only()
    assert caught.value.restored
    assert [opened.pid for opened in caught.value.transactions] == [pid_of(reader)]
    slate.compare()
    bystander.execute("SELECT 1")


def test_a_prepared_transaction_is_rolled_back(slate: Slate) -> None:
    before = slate.connect()
    before.execute("CREATE TABLE of_the_session (x int)")
    before.execute("PREPARE TRANSACTION 'before'")
    slate.capture()
    left = slate.connect()
    left.execute("UPDATE item SET name = 'prepared'")
    left.execute("PREPARE TRANSACTION 'it''s left'")
    assert slate.changed()
    assert slate.restore().prepared == ("it's left",)
    assert slate.app.execute("SELECT gid FROM pg_prepared_xacts").fetchall() == [("before",)]


def test_the_end_of_the_baselines_connection_is_told(slate: Slate) -> None:
    slate.capture()
    slate.app.execute("INSERT INTO item VALUES (2, 'new')")
    slate.app.execute("SELECT pg_terminate_backend(%s)", [pid_of(slate.berth)])
    with pytest.raises(restore.BaselineLost, match="baseline was closed"):
        slate.restore_only()


def test_capture_names_who_locks_a_table(slate: Slate) -> None:
    left = slate.connect()
    left.execute("LOCK TABLE item IN ACCESS EXCLUSIVE MODE")
    with pytest.raises(IsolationError, match=f"pid {pid_of(left)}"):
        slate.capture()


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
