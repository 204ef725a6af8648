"""Sequences, materialized views and large objects come back as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pytest_berth.services.postgres import restore

if TYPE_CHECKING:
    from .conftest import Database

SEQUENCES = """
CREATE SEQUENCE free START 5;
CREATE SEQUENCE used; SELECT nextval('used'), nextval('used');
CREATE SEQUENCE set_back; SELECT setval('set_back', 7, false);
CREATE TABLE t (id serial, n int GENERATED ALWAYS AS IDENTITY, "Other" serial);
"""


@pytest.mark.parametrize(
    "change",
    [
        "SELECT nextval('free')",
        "SELECT setval('free', 5, true)",
        "SELECT nextval('used')",
        "SELECT setval('used', 2, false)",
        "SELECT setval('set_back', 7)",
        "INSERT INTO t DEFAULT VALUES",
        "ALTER SEQUENCE used RESTART",
        "TRUNCATE t RESTART IDENTITY",
        "BEGIN; SELECT nextval('used'); ROLLBACK",
    ],
)
def test_sequences_come_back_after(db: Database, change: str) -> None:
    db.app.execute(SEQUENCES)
    db.capture()
    db.app.execute(change)
    db.restore()
    assert not db.changed()


def test_a_sequence_that_moved_without_a_transaction_id_is_noticed(db: Database) -> None:
    db.app.execute("CREATE SEQUENCE logged; SELECT nextval('logged')")
    db.capture()
    db.app.execute("SELECT nextval('logged')")
    assert db.restore().sequences == ("public.logged",)


def test_an_unlogged_sequence_comes_back(db: Database) -> None:
    if db.app.info.server_version < 150000:
        pytest.skip("unlogged sequences need PostgreSQL 15")
    db.app.execute("CREATE UNLOGGED SEQUENCE free")
    db.capture()
    db.app.execute("SELECT setval('free', 1, false); SELECT nextval('free')")
    assert db.restore().sequences == ("public.free",)


VIEWS = """
CREATE TABLE item (id int, note text); INSERT INTO item SELECT i FROM generate_series(1, 3) i;
CREATE MATERIALIZED VIEW fresh AS SELECT * FROM item; CREATE UNIQUE INDEX ON fresh (id);
CREATE MATERIALIZED VIEW random AS SELECT random(), repeat('x', 4000) AS note FROM item;
CREATE MATERIALIZED VIEW unread AS SELECT * FROM item WITH NO DATA;
CREATE MATERIALIZED VIEW stale AS SELECT * FROM item;
CREATE MATERIALIZED VIEW on_view AS SELECT * FROM stale;
INSERT INTO item VALUES (4);
"""


@pytest.mark.parametrize(
    "change",
    [
        "REFRESH MATERIALIZED VIEW fresh",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY fresh",
        "REFRESH MATERIALIZED VIEW random",
        "REFRESH MATERIALIZED VIEW unread",
        "REFRESH MATERIALIZED VIEW stale; REFRESH MATERIALIZED VIEW on_view",
        "REFRESH MATERIALIZED VIEW stale WITH NO DATA",
        "DELETE FROM item; REFRESH MATERIALIZED VIEW CONCURRENTLY fresh",
    ],
)
def test_materialized_views_come_back_after(db: Database, change: str) -> None:
    db.app.execute(VIEWS)
    db.capture()
    for statement in change.split("; "):
        db.app.execute(statement)
    db.restore()
    assert not db.changed()
    db.app.execute("REFRESH MATERIALIZED VIEW stale")
    db.restore()


def test_a_materialized_view_that_came_back_can_still_be_refreshed_and_not_written(
    db: Database,
) -> None:
    db.app.execute(VIEWS)
    db.capture()
    db.app.execute("REFRESH MATERIALIZED VIEW stale")
    db.restore()
    with pytest.raises(psycopg.errors.WrongObjectType):
        db.app.execute("INSERT INTO stale VALUES (1)")
    db.app.execute("REFRESH MATERIALIZED VIEW stale")
    assert db.app.execute("SELECT count(*) FROM stale").fetchone() == (4,)


LARGE = "SELECT lo_from_bytea({}, convert_to(repeat('kept', 2000), 'UTF8'))"


@pytest.mark.parametrize(
    "change",
    [
        LARGE.format(0),
        "SELECT lo_put(100000, 3, 'changed')",
        "SELECT lo_truncate(lo_open(100000, 131072), 10)",
        "SELECT lo_put(100000, 9000, 'longer')",
        "SELECT lo_unlink(100000)",
    ],
)
def test_large_objects_come_back_after(db: Database, change: str) -> None:
    db.app.execute(LARGE.format(100000))
    db.capture()
    db.app.execute(change)
    db.restore()
    assert not db.changed()


def test_a_large_object_whose_rights_changed_is_named(db: Database) -> None:
    db.app.execute(LARGE.format(100000))
    db.capture()
    db.app.execute("GRANT SELECT ON LARGE OBJECT 100000 TO pg_monitor")
    with pytest.raises(restore.NotRepairable, match="100000"):
        db.restore_only()
