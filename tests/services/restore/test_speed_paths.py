"""What makes repairs fast leaves them exact: notes of commands, marks, sequences, vacuum."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pytest_berth.services.postgres import restore
from pytest_berth.services.postgres.restore import schema_fingerprint, vacuum

from .conftest import LOCK_TIMEOUT

if TYPE_CHECKING:
    from .conftest import Slate

SEEDED = "CREATE TABLE item (id serial PRIMARY KEY, name text); INSERT INTO item VALUES (1, 'x')"


def _forbid(*_: object) -> None:
    raise AssertionError("the whole catalog was compared")


def test_the_catalog_is_not_compared_when_no_command_has_altered_it(
    slate: Slate, monkeypatch: pytest.MonkeyPatch
) -> None:
    slate.app.execute(SEEDED + "; CREATE MATERIALIZED VIEW seen AS SELECT * FROM item")
    slate.capture()
    monkeypatch.setattr(schema_fingerprint, "differences", _forbid)
    slate.app.execute("INSERT INTO item VALUES (2, 'y'); CREATE TEMP TABLE mine (id serial)")
    slate.app.execute("REFRESH MATERIALIZED VIEW seen")
    slate.restore()
    slate.app.execute("CREATE TABLE extra (x int)")
    with pytest.raises(AssertionError, match="whole catalog"):
        slate.restore_only()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER DATABASE slate SET work_mem = '1MB'",
        "REASSIGN OWNED BY a_role TO CURRENT_USER",
        "CREATE EVENT TRIGGER mine ON sql_drop EXECUTE FUNCTION information_schema.berth_ddl()",
        "ALTER EVENT TRIGGER berth_ddl DISABLE",
        "ALTER EXTENSION plpgsql DROP EVENT TRIGGER berth_ddl; DROP EVENT TRIGGER berth_ddl;"
        " CREATE TABLE extra (x int)",
    ],
)
def test_what_fires_no_event_trigger_is_a_schema_change_too(slate: Slate, change: str) -> None:
    slate.app.execute(SEEDED)
    slate.app.execute("CREATE ROLE a_role; ALTER TABLE item OWNER TO a_role")
    try:
        slate.capture()
        for statement in change.split(";"):
            slate.app.execute(statement)
        with pytest.raises(restore.NotRepairable):
            slate.restore_only()
    finally:
        slate.app.execute("DROP OWNED BY a_role CASCADE; DROP ROLE a_role")


def test_dumps_of_the_application_leave_the_event_trigger_out(slate: Slate) -> None:
    slate.app.execute(SEEDED)
    assert slate.capture().watched
    # pg_dump passes over information_schema, and over what belongs to an extension.
    dumped = """
        SELECT t.evtname FROM pg_event_trigger t WHERE NOT EXISTS (
            SELECT FROM pg_depend d WHERE d.classid = 'pg_event_trigger'::regclass
            AND d.objid = t.oid AND d.deptype = 'e'
        )
    """
    assert slate.app.execute(dumped).fetchall() == []


def test_a_change_by_a_transaction_older_than_the_event_trigger_is_found(slate: Slate) -> None:
    wider = slate.connect()
    wider.execute("CREATE TABLE of_the_session (x int)")
    assert not slate.capture().watched
    wider.commit()
    with pytest.raises(restore.SchemaChanged, match="of_the_session was created"):
        slate.restore_only()


def test_databases_that_are_not_ours_get_no_event_trigger(slate: Slate) -> None:
    slate.app.execute(SEEDED)
    slate.watch = False
    assert not slate.capture().watched
    assert slate.app.execute("SELECT count(*) FROM pg_event_trigger").fetchone() == (0,)
    slate.app.execute("CREATE TABLE extra (x int)")
    with pytest.raises(restore.SchemaChanged):
        slate.restore_only()


def test_the_repair_of_guarded_tables_is_not_noted_as_a_change(
    slate: Slate, monkeypatch: pytest.MonkeyPatch
) -> None:
    slate.app.execute(
        "CREATE TABLE log (id int);"
        "CREATE RULE keep AS ON DELETE TO log DO INSTEAD NOTHING; ALTER TABLE log"
        " ENABLE ALWAYS RULE keep"
    )
    slate.capture()
    monkeypatch.setattr(schema_fingerprint, "differences", _forbid)
    for _ in range(2):
        slate.app.execute("INSERT INTO log VALUES (1)")
        slate.restore()


def test_a_sequence_used_by_an_older_transaction_comes_back_when_that_has_ended(
    slate: Slate,
) -> None:
    slate.app.execute("CREATE SEQUENCE free; CREATE TABLE item (id int)")
    wider = slate.connect()
    wider.execute("INSERT INTO item VALUES (1)")
    slate.capture()
    wider.execute("SELECT nextval('free')")
    assert slate.changed()
    assert slate.restore_only().sequences == ()
    wider.rollback()
    assert slate.changed()
    assert slate.restore().sequences == ("public.free",)


def test_sequences_set_without_being_used_come_back(slate: Slate) -> None:
    slate.app.execute("CREATE SEQUENCE free")
    slate.capture()
    slate.app.execute("SELECT setval('free', 7, false)")
    slate.restore()


def test_a_sequence_at_the_same_value_gives_nothing_away_unnoticed(slate: Slate) -> None:
    slate.app.execute("CREATE SEQUENCE used; SELECT nextval('used'), nextval('used')")
    slate.capture()
    slate.app.execute("SELECT setval('used', 1)")
    slate.app.execute("SELECT nextval('used')")
    slate.restore()
    slate.app.execute("SELECT nextval('used')")
    assert slate.changed()
    slate.restore()


def test_other_databases_do_not_make_the_baseline_anew(slate: Slate, restore_server: str) -> None:
    slate.app.execute(SEEDED)
    baseline = slate.capture()
    with psycopg.connect(restore_server, autocommit=True) as elsewhere:
        elsewhere.execute("SELECT pg_current_xact_id()")
    assert slate.changed()
    confirmed = restore.confirm(slate.berth, baseline, lock_timeout=LOCK_TIMEOUT)
    assert confirmed
    assert confirmed.prepared is baseline.prepared
    assert not restore.changed(slate.berth, confirmed)


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
def test_a_baseline_that_fixtures_have_changed_is_not_confirmed(slate: Slate, change: str) -> None:
    slate.app.execute(SEEDED)
    baseline = slate.capture()
    slate.app.execute(change)
    assert restore.confirm(slate.berth, baseline, lock_timeout=LOCK_TIMEOUT) is None


def test_a_baseline_is_not_confirmed_while_a_writer_is_open(slate: Slate) -> None:
    slate.app.execute(SEEDED)
    baseline = slate.capture()
    slate.connect().execute("INSERT INTO item VALUES (2, 'y')")
    assert restore.confirm(slate.berth, baseline, lock_timeout=LOCK_TIMEOUT) is None


def test_tables_do_not_grow_from_test_to_test(
    slate: Slate, monkeypatch: pytest.MonkeyPatch
) -> None:
    slate.app.execute("CREATE TABLE log (id int, note text)")
    slate.capture()
    sizes: list[int] = []
    for _ in range(6):
        slate.app.execute(
            "INSERT INTO log SELECT i, repeat('x', 500) FROM generate_series(1, 200) i"
        )
        slate.restore()
        sizes += slate.app.execute("SELECT pg_relation_size('log')").fetchone() or ()
    assert max(sizes) < 3 * vacuum.GROWTH
    assert 0 in sizes
