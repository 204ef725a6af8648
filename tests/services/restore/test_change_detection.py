"""Each step that detects a change is needed: without it, a change of its kind is missed."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import pytest

from pytest_berth.services.postgres import restore
from pytest_berth.services.postgres.restore import (
    baseline,
    changed_rows,
    large_objects,
    log_positions,
    prepared_statements,
    schema_fingerprint,
)
from pytest_berth.services.postgres.restore.baseline import Signs

if TYPE_CHECKING:
    from .conftest import Database

# The package has a function of that name.
RESTORE = import_module("pytest_berth.services.postgres.restore.restore")
SCHEMA = """
CREATE TABLE item (id serial PRIMARY KEY, name text);
CREATE INDEX by_name ON item (name);
INSERT INTO item (name) VALUES ('b'), ('a');
CREATE TABLE sale (id serial PRIMARY KEY, item int);
CREATE UNLOGGED SEQUENCE quick;
SELECT lo_from_bytea(4711, 'kept');
"""


@pytest.fixture
def db(db: Database) -> Database:
    """A database whose baseline is captured."""
    if db.app.info.server_version < 150000:
        pytest.skip("unlogged sequences are new in PostgreSQL 15")
    db.app.execute(SCHEMA.encode())
    db.capture()
    return db


def missed(db: Database) -> bool:
    """Restore, and tell whether something was left as the test had made it."""
    db.restore_only()
    return db.contents() != db.before


def test_the_snapshot(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    db.app.execute("INSERT INTO sale VALUES (1, 1)")
    with monkeypatch.context() as patch:
        patch.setattr(log_positions.LogPosition, "moved", lambda *_: False)
        assert missed(db)
    assert not missed(db)


def test_the_sequences_that_leave_the_snapshot_as_it_is(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    db.app.execute("SELECT nextval('quick')")
    with monkeypatch.context() as patch:
        patch.setattr(baseline, "_sequences_moved", lambda *_: False)
        patch.setattr(log_positions.LogPosition, "moved", lambda *_: False)
        assert missed(db)
    assert not missed(db)


def test_the_transactions_that_still_write(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    left = db.connect()
    left.execute("INSERT INTO sale VALUES (1, 1)")

    with monkeypatch.context() as patch:
        patch.setattr(RESTORE, "look", lambda *_, **__: Signs(changed=True, writers=False))
        db.restore_only()
        left.commit()
        assert db.contents() != db.before
    assert not missed(db)


def test_the_ids_that_the_snapshot_does_not_tell_of(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = db.connect()
    with monkeypatch.context() as patch:
        blind = "SELECT pg_current_snapshot()::text || ' ' || {running} || ' 0'"
        patch.setattr(prepared_statements, "NOW", blind)
        db.capture()
    left.execute("INSERT INTO sale VALUES (1, 1)")
    db.restore_only()
    left.commit()
    assert db.contents() != db.before
    db.restore()

    db.capture()
    left.execute("INSERT INTO sale VALUES (1, 1)")
    with pytest.raises(restore.LeftOpen):
        db.restore()


def test_a_snapshot_for_each_statement_whatever_the_database_is_set_to(db: Database) -> None:
    db.app.execute("ALTER DATABASE shop SET default_transaction_isolation = 'serializable'")
    berth = db.connect(autocommit=True)
    db.capture(berth)
    assert berth.execute("SHOW transaction_isolation").fetchone() == ("read committed",)


def test_the_rows_newer_than_the_mark(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    db.app.execute("UPDATE item SET name = 'changed'")
    with monkeypatch.context() as patch:
        patch.setattr(changed_rows, "_differing", lambda *_: ({}, set()))
        assert missed(db)


def test_the_files_of_tables(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    db.app.execute("CLUSTER item USING by_name; ALTER TABLE item SET WITHOUT CLUSTER")
    kept = db.baseline
    assert kept
    with monkeypatch.context() as patch:
        patch.setattr(changed_rows, "storage_of", lambda _: kept.storage)
        assert missed(db)


def test_the_large_objects(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    db.app.execute("SELECT lo_put(4711, 0, 'lost')")
    kept = db.baseline
    assert kept
    with monkeypatch.context() as patch:
        patch.setattr(large_objects, "described", lambda _: kept.large_objects)
        assert missed(db)


def test_the_empty_tables_that_are_filled(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    db.app.execute("INSERT INTO sale VALUES (1, 1)")
    found = changed_rows.find

    def without_filled(*arguments: object) -> changed_rows.Difference:
        return changed_rows.Difference(altered=found(*arguments).altered)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(changed_rows, "find", without_filled)
        assert missed(db)


@pytest.mark.parametrize("change", ["CREATE TABLE extra (x int)", "DROP INDEX by_name"])
def test_the_comparison_of_the_catalog(
    db: Database, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    db.app.execute(change.encode())
    with monkeypatch.context() as patch:
        patch.setattr(schema_fingerprint, "differences", lambda *_: [])
        db.restore_only()
    query = "SELECT to_regclass('extra') IS NOT NULL OR to_regclass('by_name') IS NULL"
    assert db.app.execute(query).fetchone() == (True,)
