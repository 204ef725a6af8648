"""Rows of every kind of table come back as they were."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .conftest import Database

SEEDED = """
CREATE TABLE item (id serial PRIMARY KEY, name text UNIQUE);
INSERT INTO item (name) SELECT 'seed ' || i FROM generate_series(1, 5) i;
"""


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO item (name) VALUES ('new')",
        "UPDATE item SET name = 'changed' WHERE id = 2",
        "UPDATE item SET name = name",
        "DELETE FROM item WHERE id = 1",
        "DELETE FROM item",
        "TRUNCATE item",
        "TRUNCATE item RESTART IDENTITY",
        "DELETE FROM item WHERE id = 3; INSERT INTO item VALUES (3, 'seed 3')",
        "TRUNCATE item; INSERT INTO item VALUES (3, 'seed 3')",
        "CREATE TEMP TABLE mine (x int); INSERT INTO item (name) VALUES ('new')",
    ],
)
def test_seeded_rows_come_back_after(db: Database, change: str) -> None:
    db.app.execute(SEEDED)
    db.capture()
    db.app.execute(change)
    assert db.changed()
    db.restore()
    assert not db.changed()


TABLES = {
    "ordinary": "CREATE TABLE t (id int, name text)",
    "unlogged": "CREATE UNLOGGED TABLE t (id int, name text)",
    "in another schema": 'CREATE SCHEMA "Other One"; SET search_path = "Other One";'
    "CREATE TABLE t (id int, name text)",
    "with quoted names": 'CREATE TABLE "T ""x""" (id int, "na %s me" text); '
    'CREATE VIEW t AS SELECT id, "na %s me" AS name FROM "T ""x"""',
    "partitioned": "CREATE TABLE t (id int, name text) PARTITION BY RANGE (id);"
    "CREATE TABLE t_low PARTITION OF t FOR VALUES FROM (MINVALUE) TO (2);"
    "CREATE TABLE t_high PARTITION OF t FOR VALUES FROM (2) TO (MAXVALUE)",
    "inherited": "CREATE TABLE p (id int, name text); CREATE TABLE t (more int) INHERITS (p);"
    "INSERT INTO p VALUES (7, 'parent')",
    "identity always": "CREATE TABLE base (n int GENERATED ALWAYS AS IDENTITY, id int, name text);"
    "CREATE VIEW t AS SELECT id, name FROM base",
    "generated": "CREATE TABLE base (id int, twice int GENERATED ALWAYS AS (id * 2) STORED,"
    " name text); CREATE VIEW t AS SELECT id, name FROM base",
    "dropped column": "CREATE TABLE t (gone int, id int, name text); ALTER TABLE t DROP gone",
    "domain and array": "CREATE DOMAIN positive AS int CHECK (value > 0);"
    "CREATE TABLE base (id positive, name text, many positive[] DEFAULT '{1,2}');"
    "CREATE VIEW t AS SELECT id, name FROM base",
    "row-level security": "CREATE TABLE t (id int, name text);"
    "ALTER TABLE t ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;"
    "CREATE POLICY none ON t USING (false)",
    "deferrable unique": "CREATE TABLE t (id int UNIQUE DEFERRABLE INITIALLY DEFERRED, name text)",
    "guard trigger": """CREATE TABLE t (id int, name text);
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
            AS $$BEGIN RAISE 'append only'; END$$;
        CREATE TRIGGER guard BEFORE DELETE OR TRUNCATE ON t EXECUTE FUNCTION refuse()""",
    "guard trigger, always": """CREATE TABLE t (id int, name text);
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
            AS $$BEGIN RAISE 'append only'; END$$;
        CREATE TRIGGER guard BEFORE DELETE OR TRUNCATE ON t EXECUTE FUNCTION refuse();
        CREATE TRIGGER "a guard" BEFORE DELETE ON t EXECUTE FUNCTION refuse();
        ALTER TABLE t ENABLE ALWAYS TRIGGER guard, ENABLE REPLICA TRIGGER "a guard" """,
    "guard rule": "CREATE TABLE t (id int, name text);"
    "CREATE RULE keep AS ON DELETE TO t DO INSTEAD NOTHING;"
    "CREATE RULE keep_always AS ON DELETE TO t DO INSTEAD NOTHING;"
    "ALTER TABLE t ENABLE ALWAYS RULE keep_always",
}


@pytest.mark.parametrize("seeds", [0, 4], ids=["empty", "seeded"])
@pytest.mark.parametrize("kind", TABLES)
def test_a_table_comes_back_when_it_is(db: Database, kind: str, seeds: int) -> None:
    db.app.execute(TABLES[kind])
    insert = "INSERT INTO t (id, name) SELECT i, repeat('x', 3000) || i FROM generate_series({}) i"
    db.app.execute(insert.format(f"1, {seeds}"))
    db.capture()
    db.app.execute(insert.format("10, 12"))
    db.restore()
    if "guard" not in kind:
        db.app.execute("UPDATE t SET name = 'changed' WHERE id = 2")
        db.app.execute("DELETE FROM t WHERE id = 3")
        db.restore()
    assert not db.changed()


def test_a_table_without_columns_comes_back(db: Database) -> None:
    db.app.execute("CREATE TABLE bare (); INSERT INTO bare SELECT FROM generate_series(1, 3)")
    db.capture()
    db.app.execute("DELETE FROM bare")
    db.restore()


CYCLE = """
CREATE TABLE a (id int PRIMARY KEY, b int, boss int REFERENCES a ON DELETE CASCADE);
CREATE TABLE b (id int PRIMARY KEY, a int NOT NULL REFERENCES a ON DELETE CASCADE);
ALTER TABLE a ADD FOREIGN KEY (b) REFERENCES b ON DELETE RESTRICT;
CREATE TABLE child (a int REFERENCES a ON DELETE SET NULL);
INSERT INTO a VALUES (1, NULL, NULL); INSERT INTO b VALUES (1, 1); UPDATE a SET b = 1, boss = 1;
INSERT INTO child VALUES (1);
"""


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO a VALUES (2, 1, 1); INSERT INTO child VALUES (2), (1)",
        "UPDATE a SET boss = NULL",
        "UPDATE a SET b = NULL; DELETE FROM a",
        "TRUNCATE a CASCADE",
        "INSERT INTO a VALUES (2, NULL, 1); INSERT INTO b VALUES (2, 2); UPDATE a SET b = 2",
    ],
)
def test_cycles_of_foreign_keys_come_back_after(db: Database, change: str) -> None:
    db.app.execute(CYCLE)
    db.capture()
    db.app.execute(change)
    db.restore()
