"""A change of the schema is found and named, and nothing else is taken for one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pytest_berth.services.postgres import restore
from pytest_berth.services.postgres.restore import find_changes

if TYPE_CHECKING:
    from .conftest import Database

SCHEMA = """
CREATE TABLE item (id serial PRIMARY KEY, name text DEFAULT 'x');
CREATE TABLE part (id int) PARTITION BY RANGE (id);
CREATE TABLE part_1 (id int);
CREATE TYPE mood AS ENUM ('sad');
CREATE SEQUENCE free;
CREATE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN new; END';
CREATE TRIGGER touched BEFORE INSERT ON item FOR EACH ROW EXECUTE FUNCTION touch();
CREATE VIEW seen AS SELECT * FROM item;
CREATE DOMAIN positive AS int CHECK (value > 0);
"""


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("CREATE TABLE extra (x int)", "table extra was created"),
        ("DROP TABLE item CASCADE", "table item was dropped"),
        ("ALTER TABLE item RENAME TO thing", "table thing was altered"),
        ("ALTER TABLE item ADD note text", "column note of table item was created"),
        ("ALTER TABLE item DROP name CASCADE", "column name of table item was dropped"),
        ("ALTER TABLE item ALTER name SET NOT NULL", "column name of table item was altered"),
        ("ALTER TABLE item ALTER name SET DEFAULT 'y'", "default value for column name"),
        ("ALTER TABLE item ADD CHECK (id > 0)", "constraint item_id_check on table item"),
        ("ALTER TABLE item DISABLE TRIGGER touched", "trigger touched on table item was altered"),
        ("ALTER TABLE item ENABLE ROW LEVEL SECURITY", "table item was altered"),
        ("CREATE POLICY p ON item USING (true)", "policy p on table item was created"),
        ("CREATE INDEX extra ON item (name)", "index extra was created"),
        ("ALTER INDEX item_pkey SET (fillfactor = 50)", "index item_pkey was altered"),
        ("GRANT SELECT ON item TO pg_monitor", "table item was altered"),
        ("COMMENT ON TABLE item IS 'mine'", "table item was altered"),
        ("COMMENT ON SCHEMA public IS 'mine'", "schema public was altered"),
        ("ALTER TABLE part ATTACH PARTITION part_1 DEFAULT", "table part_1 was altered"),
        ("ALTER TYPE mood ADD VALUE 'glad'", "type mood was altered"),
        ("ALTER DOMAIN positive DROP CONSTRAINT positive_check", "constraint positive_check"),
        ("ALTER SEQUENCE free INCREMENT 2", "sequence free was altered"),
        ("ALTER SEQUENCE free OWNED BY item.id", "sequence free was altered"),
        ("CREATE OR REPLACE FUNCTION one() RETURNS int LANGUAGE sql AS 'SELECT 2'", "one()"),
        ("DROP FUNCTION one()", "function one() was dropped"),
        ("CREATE OR REPLACE VIEW seen AS SELECT * FROM item WHERE id > 0", "view seen"),
        ("CREATE SCHEMA extra", "schema extra was created"),
        ("CREATE STATISTICS st ON id, name FROM item", "statistics object st was created"),
        ("ALTER DATABASE shop SET work_mem = '1MB'", "database shop was altered"),
        ("CREATE PUBLICATION pub FOR TABLE item", "publication pub was created"),
        ("ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor", "default privileges"),
        ("CREATE CAST (mood AS int) WITH INOUT", "cast from mood to integer was created"),
    ],
)
def test_a_schema_change_is_named(db: Database, change: str, named: str) -> None:
    db.app.execute(SCHEMA)
    db.capture()
    db.app.execute(change)
    assert db.changed()
    with pytest.raises(restore.SchemaChanged) as caught:
        db.restore_only()
    assert any(named in difference for difference in caught.value.differences)
    assert 'isolation="database"' in caught.value.remedy


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("!CREATE UNIQUE INDEX CONCURRENTLY bad ON twice (x)", "index bad was created"),
        ("REINDEX INDEX CONCURRENTLY item_pkey", "index item_pkey was created"),
        ("!CREATE UNIQUE INDEX CONCURRENTLY bad ON twice (x); DROP INDEX CONCURRENTLY bad", ""),
        ("CLUSTER item USING item_pkey", "index item_pkey was altered"),
        ("ALTER TABLE part DETACH PARTITION part_1 CONCURRENTLY", "table part_1 was altered"),
        ("UPDATE pg_index SET indisvalid = false WHERE indrelid = 'item'::regclass", "index"),
        ("UPDATE pg_attribute SET attnotnull = true WHERE attname = 'name'", "column name of"),
        ("DELETE FROM pg_enum", "type mood was altered"),
        ("UPDATE pg_extension SET extversion = '7'", "system in pg_extension was altered"),
        ("UPDATE pg_proc SET prosrc = 'SELECT 7' WHERE proname = 'one'", "function one() was"),
        ("COMMENT ON DATABASE shop IS 'mine'", "database shop was altered"),
        ("REVOKE CONNECT ON DATABASE shop FROM PUBLIC", "database shop was altered"),
        ("ALTER DATABASE shop CONNECTION LIMIT 7", "database shop was altered"),
        ("REVOKE EXECUTE ON FUNCTION pg_sleep(float8) FROM PUBLIC", "system in pg_proc was"),
        ("COMMENT ON FUNCTION now() IS 'mine'", "system in pg_description was altered"),
        ("GRANT SELECT ON pg_authid TO PUBLIC", "table pg_authid was altered"),
        (
            "CREATE SUBSCRIPTION sub CONNECTION 'port=1' PUBLICATION p WITH (connect = false)",
            "subscription sub was created",
        ),
    ],
)
def test_what_no_event_trigger_tells_of_is_named(db: Database, change: str, named: str) -> None:
    db.app.autocommit = True
    db.app.execute(SCHEMA)
    db.app.execute("ALTER TABLE part ATTACH PARTITION part_1 FOR VALUES FROM (0) TO (9)")
    db.app.execute("CREATE TABLE twice (x int); INSERT INTO twice VALUES (1), (1)")
    db.capture()
    for statement in change.split("; "):
        try:
            db.app.execute(statement.removeprefix("!").encode())
        except psycopg.errors.UniqueViolation:
            assert statement.startswith("!")
    assert db.changed()
    try:
        if not named:
            db.restore_only()
            return
        with pytest.raises(restore.SchemaChanged) as caught:
            db.restore_only()
    finally:
        _drop_subscriptions(db)
    assert any(named in difference for difference in caught.value.differences)


def _drop_subscriptions(db: Database) -> None:
    for (name,) in db.app.execute("SELECT subname FROM pg_subscription").fetchall():
        db.app.execute(f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)")
        db.app.execute(f"DROP SUBSCRIPTION {name}")


def test_writing_rows_is_not_followed_by_counting_those_of_the_catalogs(
    db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object) -> None:
        raise AssertionError("the catalogs were counted")

    db.in_one_message = False
    db.app.execute(SCHEMA)
    db.capture()
    monkeypatch.setattr(find_changes, "_require_entries", forbidden)
    db.app.execute("INSERT INTO item (name) VALUES ('a')")
    db.app.execute("BEGIN; UPDATE item SET name = 'b'; ROLLBACK")
    db.restore()
    db.app.execute("SELECT setval('free', 9)")
    with pytest.raises(AssertionError, match="were counted"):
        db.restore_only()


def test_a_table_that_was_dropped_without_a_note_is_named(db: Database) -> None:
    db.app.execute("CREATE TABLE item (x int)")
    db.capture()
    with db.app.transaction():
        # As with event_triggers = off, which PostgreSQL has since 17.
        db.app.execute("DROP TABLE item")
        db.app.execute("DELETE FROM information_schema.berth_ddl")
    with pytest.raises(restore.SchemaChanged, match="table item was dropped"):
        db.restore_only()


@pytest.mark.parametrize(
    "change",
    [
        "VACUUM FULL item",
        "VACUUM FREEZE ANALYZE",
        "CLUSTER item USING by_name; ALTER TABLE item SET WITHOUT CLUSTER",
        "REINDEX TABLE item",
        "TRUNCATE item",
        "CREATE TEMP TABLE mine (id serial PRIMARY KEY, x text)",
        "CREATE TABLE gone (x int); DROP TABLE gone",
        "ALTER TABLE item DISABLE TRIGGER ALL; ALTER TABLE item ENABLE TRIGGER ALL",
        "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ],
)
def test_what_leaves_the_schema_as_it_was_is_no_change(db: Database, change: str) -> None:
    db.app.execute(SCHEMA)
    db.app.execute(
        "CREATE INDEX by_name ON item (name); ALTER TABLE item ADD late text DEFAULT 'missing';"
        "INSERT INTO item (name) VALUES ('c'), ('a'), ('b'); DELETE FROM item WHERE id = 2"
    )
    db.capture()
    for statement in change.split("; "):
        db.app.execute(statement)
    db.restore()


def test_tables_of_an_extension_come_back(db: Database) -> None:
    db.app.execute("CREATE TABLE config (x serial); INSERT INTO config VALUES (1)")
    db.app.execute("CREATE EXTENSION IF NOT EXISTS plpgsql")
    db.app.execute("ALTER EXTENSION plpgsql ADD TABLE config")
    db.capture()
    db.app.execute("UPDATE config SET x = 7; INSERT INTO config DEFAULT VALUES")
    restored = db.restore()
    assert (restored.tables, restored.sequences) == (("public.config",), ("public.config_x_seq",))


def test_rows_the_schema_refuses_by_now_are_a_reason_to_replace_the_database(db: Database) -> None:
    db.app.execute(
        "CREATE TABLE item (x int); INSERT INTO item VALUES (-1);"
        "ALTER TABLE item ADD CHECK (x > 0) NOT VALID"
    )
    db.capture()
    db.app.execute("DELETE FROM item")
    with pytest.raises(restore.NotRepairable, match=r"no longer accepted by public\.item"):
        db.restore_only()


def test_functions_that_need_the_search_path_of_the_database_work(db: Database) -> None:
    db.app.execute(
        "CREATE FUNCTION good(int) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT $1 > 0';"
        "CREATE FUNCTION better(int) RETURNS bool LANGUAGE plpgsql AS 'BEGIN RETURN good($1); END';"
        "CREATE TABLE item (x int CHECK (better(x))); INSERT INTO item VALUES (1)"
    )
    db.capture()
    db.app.execute("DELETE FROM item")
    db.restore()


def test_the_copies_are_gone_after_release(db: Database) -> None:
    db.app.execute("CREATE TABLE item (x int); INSERT INTO item VALUES (1)")
    baseline = db.capture()
    restore.release(db.berth, baseline)
    with psycopg.connect(db.dsn) as conn:
        copies = conn.execute(
            "SELECT count(*) FROM pg_class WHERE relname ~ '^berth_[0-9]'"
        ).fetchone()
    assert copies == (0,)
    prepared = db.berth.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
    assert prepared == (0,)
