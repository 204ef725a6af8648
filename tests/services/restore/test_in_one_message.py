"""What tests mostly leave is put back in one message; whatever is not that takes the long way."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import TYPE_CHECKING

import psycopg
import pytest

from pytest_berth.services.postgres import restore
from pytest_berth.services.postgres.restore.write_back import in_one_message
from pytest_berth.waiting import wait_for

from .conftest import LOCK_TIMEOUT, with_function

if TYPE_CHECKING:
    from .conftest import Connection, Database

SCHEMA = """
CREATE TABLE item (id serial PRIMARY KEY, name text);
CREATE TABLE "odd ""name" (id int GENERATED ALWAYS AS IDENTITY, item int REFERENCES item);
CREATE SEQUENCE free;
INSERT INTO item (name) SELECT 'seed' FROM generate_series(1, 3);
CREATE MATERIALIZED VIEW seen AS SELECT * FROM item;
"""
ROWS = """
INSERT INTO item (name) VALUES ('new'); INSERT INTO "odd ""name" (item) VALUES (4), (1);
SELECT nextval('free');
"""
LONG_WAY = import_module("pytest_berth.services.postgres.restore.restore")


def forbid(*_: object, **__: object) -> None:
    raise AssertionError("the long way is taken")


@pytest.fixture
def only_one(db: Database, monkeypatch: pytest.MonkeyPatch) -> Database:
    """Return a database that can be put back in one message only."""
    db.app.execute(SCHEMA)
    db.capture()
    monkeypatch.setattr(LONG_WAY, "look", forbid)
    return db


def functions(connection: Connection) -> int:
    (found,) = connection.execute(
        "SELECT count(*) FROM pg_proc WHERE pronamespace = pg_my_temp_schema()"
    ).fetchone() or (0,)
    return int(found)


def clients(connection: Connection) -> list[int]:
    found = connection.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    return [pid for (pid,) in found]


def test_new_rows_go_and_sequences_come_back(only_one: Database) -> None:
    for _ in range(2):
        only_one.app.execute(ROWS)
        restored = only_one.restore()
        assert restored.tables == ("public.item", 'public.odd "name')
        assert "public.free" in restored.sequences
        assert not only_one.changed()
        assert only_one.restore() == restore.Restored(restored.baseline)


def test_what_has_left_no_row_is_looked_for_in_the_catalogs(only_one: Database) -> None:
    only_one.app.execute("INSERT INTO item (name) VALUES ('gone'); DELETE FROM item WHERE id = 4")
    assert only_one.restore().tables == ()
    with pytest.raises(psycopg.errors.DivisionByZero):
        only_one.app.execute(
            "INSERT INTO item (name) SELECT 'never' WHERE 1 / nextval('free') > 0; SELECT 1 / 0"
        )
    assert "public.free" in only_one.restore().sequences


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE item SET name = 'changed' WHERE id = 1",
        "DELETE FROM item WHERE id = 2",
        "UPDATE item SET name = name; DELETE FROM item WHERE id = 3; INSERT INTO item VALUES (3)",
        "TRUNCATE item CASCADE",
        "CLUSTER item USING item_pkey",
        "REFRESH MATERIALIZED VIEW seen",
        "SELECT lo_from_bytea(0, 'x')",
        "CREATE TABLE extra (x int)",
        "UPDATE pg_class SET reloptions = '{fillfactor=50}' WHERE relname = 'item'",
        "ALTER DATABASE shop SET work_mem = '1MB'",
    ],
)
def test_what_is_more_than_new_rows_is_left_to_the_long_way(
    only_one: Database, change: str
) -> None:
    before = only_one.berth.info.transaction_status
    for statement in f"{change}; INSERT INTO item VALUES (7, 'new')".split("; "):
        only_one.app.execute(statement)
    held = only_one.contents()
    with pytest.raises(AssertionError, match="the long way is taken"):
        only_one.restore_only()
    assert only_one.contents() == held
    assert only_one.berth.info.transaction_status == before


def test_a_writer_and_a_lock_are_left_to_the_long_way(only_one: Database) -> None:
    only_one.app.execute(ROWS)
    other = only_one.connect()
    for statement in ("INSERT INTO item (name) VALUES ('open')", "LOCK item IN EXCLUSIVE MODE"):
        other.execute(statement)
        with pytest.raises(AssertionError, match="the long way is taken"):
            only_one.restore_only()
        other.rollback()
    only_one.restore()


def test_a_statement_that_has_not_written_yet_is_left_to_the_long_way(only_one: Database) -> None:
    only_one.app.execute(ROWS)
    only_one.restore_only()
    other = only_one.connect(autocommit=True).pgconn
    other.send_query(b"INSERT INTO item (name) SELECT 'late' FROM pg_sleep(60)")
    other.flush()
    active = f"SELECT state = 'active' FROM pg_stat_activity WHERE pid = {other.backend_pid}"
    wait_for(lambda: only_one.app.execute(active).fetchone() == (True,), 60)
    with pytest.raises(AssertionError, match="the long way is taken"):
        only_one.restore_only()


def test_backends_of_others_end_before_anything_is_put_back(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.app.execute(SCHEMA)
    baseline = db.capture()
    db.app.execute(ROWS)
    restored = restore.restore(db.berth, baseline, lock_timeout=LOCK_TIMEOUT, alone=())
    assert set(restored.tables) == {"public.item", 'public.odd "name'}
    with pytest.raises(psycopg.OperationalError):
        db.app.execute("SELECT 1")
    db.compare()

    kept = db.connect(autocommit=True)
    kept.execute(ROWS)
    baseline, alone = restored.baseline, [kept.info.backend_pid]
    # What has closed its connection is there for another moment.
    wait_for(lambda: clients(db.berth) == alone, 60)
    monkeypatch.setattr(LONG_WAY, "look", forbid)
    restored = restore.restore(db.berth, baseline, lock_timeout=LOCK_TIMEOUT, alone=alone)
    assert set(restored.tables) == {"public.item", 'public.odd "name'}
    kept.execute("SELECT 1")
    db.compare()


def test_a_function_is_made_after_a_few_tests_and_serves_also_when_files_have_changed(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.in_one_message = False
    db.app.execute(SCHEMA)
    db.capture()
    for _ in range(in_one_message.AFTER):
        assert db.baseline
        assert db.baseline.on_server is None
        db.app.execute(ROWS)
        db.restore()
    with monkeypatch.context() as patched:
        patched.setattr(LONG_WAY, "look", forbid)
        db.app.execute(ROWS)
        db.restore()
    for change in ("VACUUM FULL item", "TRUNCATE item CASCADE", "REFRESH MATERIALIZED VIEW seen"):
        db.app.execute(change)
        with monkeypatch.context() as patched:
            patched.setattr(LONG_WAY, "look", forbid)
            with pytest.raises(AssertionError, match="the long way is taken"):
                db.restore_only()
        db.restore()
        with monkeypatch.context() as patched:
            patched.setattr(LONG_WAY, "look", forbid)
            patched.setattr(in_one_message, "prepare", forbid)
            db.app.execute(ROWS)
            db.restore()


def test_what_is_ended_is_waited_for_a_moment(only_one: Database) -> None:
    for _ in range(20):
        only_one.connect(autocommit=True).execute(ROWS)
        assert only_one.baseline
        with suppress(AssertionError):
            restore.restore(only_one.berth, only_one.baseline, lock_timeout=LOCK_TIMEOUT, alone=())
            break
    else:
        pytest.fail("the long way is always taken")
    only_one.compare()


@pytest.mark.parametrize("fires", ["ALWAYS", "REPLICA"])
def test_no_function_is_made_where_that_would_fire_an_event_trigger(
    db: Database, fires: str
) -> None:
    db.app.execute(SCHEMA)
    db.app.execute(
        "CREATE TABLE audit (tag text);"
        "CREATE FUNCTION audit() RETURNS event_trigger LANGUAGE plpgsql"
        " AS $$ BEGIN INSERT INTO public.audit VALUES (tg_tag); END $$;"
        "CREATE EVENT TRIGGER audit ON ddl_command_end EXECUTE FUNCTION audit()"
    )
    db.capture()
    assert functions(db.berth) == 1, "what fires for origins only is no reason"
    db.app.execute(f"ALTER EVENT TRIGGER audit ENABLE {fires}")
    db.capture()
    assert functions(db.berth) == 1, "there is no second one"
    assert db.app.execute("SELECT FROM audit WHERE tag = 'CREATE FUNCTION'").fetchall() == []


@pytest.mark.parametrize("stored", [False, True])
def test_the_function_goes_with_its_baseline(db: Database, *, stored: bool) -> None:
    db.app.execute(SCHEMA)
    if stored:
        db.app.close()
        assert restore.store(db.berth, lock_timeout=LOCK_TIMEOUT)
        loaded = restore.load(db.berth, lock_timeout=LOCK_TIMEOUT)
        assert loaded
        baseline = with_function(db.berth, loaded)
    else:
        baseline = db.capture()
    assert functions(db.berth) == 1
    restore.release(db.berth, baseline)
    assert functions(db.berth) == 0
