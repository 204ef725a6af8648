"""What makes repairs fast leaves them exact: notes of commands, marks, sequences, vacuum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pytest_berth.services.postgres import restore
from pytest_berth.services.postgres.restore import schema_fingerprint
from pytest_berth.services.postgres.restore.restore import GROWTH, RestoreConnection

from .conftest import LOCK_TIMEOUT

if TYPE_CHECKING:
    from .conftest import Database

SEEDED = "CREATE TABLE item (id serial PRIMARY KEY, name text); INSERT INTO item VALUES (1, 'x')"


def _forbid(*_: object) -> None:
    raise AssertionError("the whole catalog was compared")


def test_the_catalog_is_not_compared_when_no_command_has_altered_it(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.app.execute(SEEDED + "; CREATE MATERIALIZED VIEW seen AS SELECT * FROM item")
    db.capture()
    monkeypatch.setattr(schema_fingerprint, "differences", _forbid)
    db.app.execute("INSERT INTO item VALUES (2, 'y'); CREATE TEMP TABLE mine (id serial)")
    db.app.execute("REFRESH MATERIALIZED VIEW seen")
    db.restore()
    db.app.execute("CREATE TABLE extra (x int)")
    with pytest.raises(AssertionError, match="whole catalog"):
        db.restore_only()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER DATABASE shop SET work_mem = '1MB'",
        "REASSIGN OWNED BY a_role TO CURRENT_USER",
        "CREATE EVENT TRIGGER mine ON sql_drop EXECUTE FUNCTION information_schema.berth_ddl()",
        "ALTER EVENT TRIGGER berth_ddl DISABLE",
        "ALTER EXTENSION plpgsql DROP EVENT TRIGGER berth_ddl; DROP EVENT TRIGGER berth_ddl;"
        " CREATE TABLE extra (x int)",
    ],
)
def test_what_fires_no_event_trigger_is_a_schema_change_too(db: Database, change: str) -> None:
    db.app.execute(SEEDED)
    db.app.execute("CREATE ROLE a_role; ALTER TABLE item OWNER TO a_role")
    try:
        db.capture()
        for statement in change.split(";"):
            db.app.execute(statement)
        with pytest.raises(restore.NotRepairable):
            db.restore_only()
    finally:
        db.app.execute("DROP OWNED BY a_role CASCADE; DROP ROLE a_role")


def test_dumps_of_the_application_leave_the_event_trigger_out(db: Database) -> None:
    db.app.execute(SEEDED)
    assert db.capture().watched
    # pg_dump passes over information_schema, and over what belongs to an extension.
    dumped = """
        SELECT t.evtname FROM pg_event_trigger t WHERE NOT EXISTS (
            SELECT FROM pg_depend d WHERE d.classid = 'pg_event_trigger'::regclass
            AND d.objid = t.oid AND d.deptype = 'e'
        )
    """
    assert db.app.execute(dumped).fetchall() == []


def test_a_change_by_a_transaction_older_than_the_event_trigger_is_found(db: Database) -> None:
    wider = db.connect()
    wider.execute("CREATE TABLE of_the_session (x int)")
    assert not db.capture().watched
    wider.commit()
    with pytest.raises(restore.SchemaChanged, match="of_the_session was created"):
        db.restore_only()


def test_databases_that_are_not_ours_get_no_event_trigger(db: Database) -> None:
    db.app.execute(SEEDED)
    db.watch = False
    assert not db.capture().watched
    assert db.app.execute("SELECT count(*) FROM pg_event_trigger").fetchone() == (0,)
    db.app.execute("CREATE TABLE extra (x int)")
    with pytest.raises(restore.SchemaChanged):
        db.restore_only()


def test_the_repair_of_guarded_tables_is_not_noted_as_a_change(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.app.execute(
        "CREATE TABLE log (id int);"
        "CREATE RULE keep AS ON DELETE TO log DO INSTEAD NOTHING; ALTER TABLE log"
        " ENABLE ALWAYS RULE keep"
    )
    db.capture()
    monkeypatch.setattr(schema_fingerprint, "differences", _forbid)
    for _ in range(2):
        db.app.execute("INSERT INTO log VALUES (1)")
        db.restore()


def test_a_sequence_used_by_an_older_transaction_comes_back_when_that_has_ended(
    db: Database,
) -> None:
    db.app.execute("CREATE SEQUENCE free; CREATE TABLE item (id int)")
    wider = db.connect()
    wider.execute("INSERT INTO item VALUES (1)")
    db.capture()
    wider.execute("SELECT nextval('free')")
    assert db.changed()
    assert db.restore_only().sequences == ()
    wider.rollback()
    assert db.changed()
    assert db.restore().sequences == ("public.free",)


def test_sequences_set_without_being_used_come_back(db: Database) -> None:
    db.app.execute("CREATE SEQUENCE free")
    db.capture()
    db.app.execute("SELECT setval('free', 7, false)")
    db.restore()


def test_a_sequence_at_the_same_value_gives_nothing_away_unnoticed(db: Database) -> None:
    db.app.execute("CREATE SEQUENCE used; SELECT nextval('used'), nextval('used')")
    db.capture()
    db.app.execute("SELECT setval('used', 1)")
    db.app.execute("SELECT nextval('used')")
    db.restore()
    db.app.execute("SELECT nextval('used')")
    assert db.changed()
    db.restore()


def test_other_databases_do_not_make_the_baseline_anew(db: Database, restore_server: str) -> None:
    db.app.execute(SEEDED)
    baseline = db.capture()
    with psycopg.connect(restore_server, autocommit=True) as elsewhere:
        elsewhere.execute("SELECT pg_current_xact_id()")
    assert db.changed()
    confirmed = restore.confirm(db.berth, baseline, lock_timeout=LOCK_TIMEOUT)
    assert confirmed
    assert confirmed.prepared is baseline.prepared
    assert not restore.changed(db.berth, confirmed)


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO item VALUES (2, 'y')",
        "DELETE FROM item",
        "SELECT setval('item_id_seq', 5, false)",
        "SELECT nextval('item_id_seq')",
        "CREATE TABLE extra (x int)",
        "SELECT lo_from_bytea(0, 'x')",
    ],
)
def test_a_baseline_that_fixtures_have_changed_is_not_confirmed(db: Database, change: str) -> None:
    db.app.execute(SEEDED)
    baseline = db.capture()
    db.app.execute(change)
    assert restore.confirm(db.berth, baseline, lock_timeout=LOCK_TIMEOUT) is None


def test_a_baseline_is_not_confirmed_while_a_writer_is_open(db: Database) -> None:
    db.app.execute(SEEDED)
    baseline = db.capture()
    db.connect().execute("INSERT INTO item VALUES (2, 'y')")
    assert restore.confirm(db.berth, baseline, lock_timeout=LOCK_TIMEOUT) is None


def test_tables_do_not_grow_from_test_to_test(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.app.execute("CREATE TABLE log (id int, note text)")
    db.capture()
    sizes: list[int] = []
    for _ in range(6):
        db.app.execute("INSERT INTO log SELECT i, repeat('x', 500) FROM generate_series(1, 200) i")
        db.restore()
        sizes += db.app.execute("SELECT pg_relation_size('log')").fetchone() or ()
    assert max(sizes) < 3 * GROWTH
    assert 0 in sizes


@pytest.mark.parametrize(("ours", "waits"), [(True, "off"), (False, "on")])
def test_the_disk_is_waited_for_only_where_a_crash_would_lose_what_was_put_back(
    db: Database, *, ours: bool, waits: str
) -> None:
    def connect() -> psycopg.Connection[object]:
        return db.connect(autocommit=True)

    restoring = RestoreConnection(connect, LOCK_TIMEOUT, ours=ours)
    assert restoring.psycopg.execute("SHOW synchronous_commit").fetchone() == (waits,)
    assert db.app.execute("SHOW synchronous_commit").fetchone() == ("on",)
