"""A baseline that is stored in a template serves every clone of it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pytest_berth.services.postgres import restore
from pytest_berth.services.postgres.restore import catalog, schema_fingerprint

from .conftest import LOCK_TIMEOUT, Database

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = """
CREATE TABLE item (id serial PRIMARY KEY, name text);
INSERT INTO item (name) VALUES ('one'), ('two');
CREATE TABLE sale (id serial PRIMARY KEY, item int REFERENCES item);
CREATE MATERIALIZED VIEW seen AS SELECT * FROM item;
SELECT lo_from_bytea(4711, 'kept');
"""
WRITE = """
UPDATE item SET name = 'changed' WHERE id = 1;
INSERT INTO item (name) VALUES ('three');
INSERT INTO sale (item) VALUES (3);
REFRESH MATERIALIZED VIEW seen;
SELECT lo_put(4711, 0, 'lost');
"""


@pytest.fixture
def template(restore_server: str) -> Iterator[str]:
    """The name of a template that has its baseline stored."""
    with psycopg.connect(restore_server, autocommit=True) as admin:
        admin.execute("CREATE DATABASE stored")
        try:
            dsn = make_conninfo(restore_server, dbname="stored")
            with psycopg.connect(dsn, autocommit=True) as conn:
                conn.execute(SCHEMA.encode())
                assert restore.store(conn, lock_timeout=LOCK_TIMEOUT)
            yield "stored"
        finally:
            admin.execute("DROP DATABASE stored WITH (FORCE)")


@contextmanager
def clone(server: str, name: str = "clone") -> Iterator[Database]:
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE stored".encode())
        dsn = make_conninfo(server, dbname=name)
        try:
            with (
                psycopg.connect(dsn, autocommit=True) as berth,
                psycopg.connect(dsn, autocommit=True) as app,
            ):
                yield Database(dsn, berth, app)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


def load(db: Database, like: restore.Baseline | None = None) -> restore.Baseline | None:
    db.baseline = restore.load(db.berth, lock_timeout=LOCK_TIMEOUT, like=like)
    db.before = db.contents()
    return db.baseline


def test_a_clone_is_put_back_by_the_copies_that_it_came_with(
    template: str, restore_server: str
) -> None:
    with clone(restore_server) as db:
        assert load(db)
        for _ in range(2):
            assert db.restore().tables == ()
            db.app.execute(WRITE.encode())
            assert db.restore().tables == ("public.sale", "public.item")


def test_a_second_clone_reads_nothing_of_what_the_first_has_read(
    template: str, restore_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with clone(restore_server) as first:
        like = load(first)
        first.app.execute(WRITE.encode())
        first.restore()

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("the catalog was read")

    monkeypatch.setattr(catalog, "read", forbidden)
    monkeypatch.setattr(schema_fingerprint, "stored_in", forbidden)
    with clone(restore_server, "second") as db:
        assert load(db, like)
        db.app.execute(WRITE.encode())
        assert db.restore().tables == ("public.sale", "public.item")


def test_the_stored_copies_are_no_change_of_the_schema(template: str, restore_server: str) -> None:
    with clone(restore_server) as db:
        baseline = load(db)
        assert baseline
        db.app.execute("ALTER TABLE item DISABLE TRIGGER ALL")
        db.app.execute("ALTER TABLE item ENABLE TRIGGER ALL")
        db.restore()
        assert schema_fingerprint.differences(db.berth, baseline.fingerprint) == []


def test_a_changed_schema_is_named_by_the_stored_catalog(
    template: str, restore_server: str
) -> None:
    with clone(restore_server) as db:
        load(db)
        db.app.execute("CREATE TABLE extra (x int); ALTER TABLE item ADD extra int")
        db.app.execute("DROP TABLE sale")
        with pytest.raises(restore.SchemaChanged) as caught:
            db.restore_only()
        named = "\n".join(caught.value.differences)
        for part in ("extra was created", "table sale was dropped", "column extra"):
            assert part in named


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO sale (item) VALUES (1)",
        "UPDATE item SET name = 'changed'",
        "DELETE FROM item",
        "CREATE TABLE extra (x int)",
        "REFRESH MATERIALIZED VIEW seen",
        "ALTER DATABASE clone SET work_mem = '1MB'",
    ],
)
def test_what_was_written_before_is_not_taken_for_the_template(
    template: str, restore_server: str, statement: str
) -> None:
    with clone(restore_server) as db:
        db.app.execute(statement.encode())
        assert load(db) is None


def test_where_sequences_stand_belongs_to_the_baseline(template: str, restore_server: str) -> None:
    with clone(restore_server) as db:
        db.app.execute("SELECT nextval('item_id_seq')")
        assert load(db)
        db.app.execute("SELECT nextval('item_id_seq')")
        db.restore()


def test_a_baseline_after_more_rows_does_not_read_the_schema_again(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.app.execute(SCHEMA.encode())
    first = db.capture()
    db.app.execute("INSERT INTO item (name) VALUES ('of the module')")

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("the catalog was read")

    with monkeypatch.context() as patch:
        patch.setattr(catalog, "read", forbidden)
        patch.setattr(schema_fingerprint, "take", forbidden)
        second = restore.capture(db.berth, lock_timeout=LOCK_TIMEOUT, watch=True, known=first)
    restore.release(db.berth, first, [second])
    db.baseline, db.before = second, db.contents()
    db.app.execute(WRITE.encode())
    assert db.restore().tables == ("public.sale", "public.item")
    db.app.execute("CREATE TABLE extra (x int)")
    with pytest.raises(restore.SchemaChanged):
        db.restore_only()


def test_a_baseline_after_a_schema_change_reads_the_schema_again(db: Database) -> None:
    db.app.execute(SCHEMA.encode())
    first = db.capture()
    db.app.execute("CREATE TABLE extra (x int)")
    second = restore.capture(db.berth, lock_timeout=LOCK_TIMEOUT, watch=True, known=first)
    restore.release(db.berth, first, [second])
    db.baseline, db.before = second, db.contents()
    db.app.execute("INSERT INTO extra VALUES (1)")
    assert db.restore().tables == ("public.extra",)
