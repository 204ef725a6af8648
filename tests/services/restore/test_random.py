"""Whatever tests do to whatever schema: the repair gives back what was there."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from marks import nightly
from pytest_berth.services.postgres import restore

from .conftest import Database, new_database

if TYPE_CHECKING:
    from .conftest import Connection

EXAMPLES = os.environ.get("BERTH_TESTS_EXAMPLES", "")
USUAL = "35"
REFUSE = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN RAISE 'append only'; END$$;
CREATE DOMAIN positive AS int CHECK (value >= 0);
CREATE SCHEMA "Other One";
CREATE SEQUENCE free;
"""

# Each has the columns id, name and ref; "{t}" stands for the name.
KINDS = {
    "plain": "CREATE TABLE {t} (id int, name text, ref int)",
    "serial": "CREATE TABLE {t} (id serial UNIQUE, name text, ref int)",
    "identity": "CREATE TABLE {t} (n int GENERATED ALWAYS AS IDENTITY, id int UNIQUE, name text,"
    " ref int)",
    "unlogged": "CREATE UNLOGGED TABLE {t} (id bigserial, name text, ref int)",
    "generated": "CREATE TABLE {t} (id int UNIQUE, twice int GENERATED ALWAYS AS (id * 2) STORED,"
    " name text, ref int)",
    "domain": "CREATE TABLE {t} (gone int, id positive UNIQUE, name text, ref int,"
    " many positive[] DEFAULT '{{1,2}}'); ALTER TABLE {t} DROP gone",
    "partitioned": "CREATE TABLE {t} (id int UNIQUE, name text, ref int) PARTITION BY RANGE (id);"
    "CREATE TABLE {part} PARTITION OF {t} FOR VALUES FROM (MINVALUE) TO (3);"
    "CREATE TABLE {rest} PARTITION OF {t} DEFAULT",
    "inherited": "CREATE TABLE {part} (id int, name text, ref int);"
    "CREATE TABLE {t} (UNIQUE (id)) INHERITS ({part}); INSERT INTO {part} VALUES (7)",
    "row security": "CREATE TABLE {t} (id int UNIQUE, name text, ref int);"
    "ALTER TABLE {t} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY",
    "guarded": "CREATE TABLE {t} (id int UNIQUE, name text, ref int);"
    "CREATE TRIGGER guard BEFORE DELETE OR TRUNCATE ON {t} EXECUTE FUNCTION refuse();"
    "ALTER TABLE {t} ENABLE ALWAYS TRIGGER guard",
    "deferrable": "CREATE TABLE {t} (id int UNIQUE, name text UNIQUE DEFERRABLE INITIALLY DEFERRED,"
    " ref int)",
}
REFERENCED = sorted(KINDS.keys() - {"plain", "unlogged"})
ACTIONS = [
    "NO ACTION",
    "CASCADE",
    "SET NULL",
    "RESTRICT",
    "NO ACTION DEFERRABLE INITIALLY DEFERRED",
]


@dataclass(frozen=True)
class Table:
    kind: str
    seeds: int
    target: int | None
    action: str
    view: bool


@dataclass(frozen=True)
class Step:
    what: str
    table: int
    number: int
    conn: int


TABLE = st.builds(
    Table,
    st.sampled_from(sorted(KINDS)),
    st.sampled_from([0, 0, 1, 5]),
    st.none() | st.integers(0, 4),
    st.sampled_from(ACTIONS),
    st.booleans(),
)
STEPS = {
    "insert": "INSERT INTO {t} (id, name, ref) VALUES ({n}, repeat('{n}', 2500), {m})",
    "insert default": "INSERT INTO {t} (name) VALUES (repeat('y', {n}))",
    "update": "UPDATE {t} SET name = 'changed {n}' WHERE id >= {n}",
    "touch": "UPDATE {t} SET ref = ref WHERE id = {n}",
    "move": "UPDATE {t} SET id = id + {n}",
    "delete": "DELETE FROM {t} WHERE id >= {n}",
    "truncate": "TRUNCATE {t} CASCADE",
    "restart": "TRUNCATE {t} RESTART IDENTITY CASCADE",
    "vacuum": "VACUUM {t}",
    "rewrite": "VACUUM FULL {t}",
    "refresh": "REFRESH MATERIALIZED VIEW {v}",
    "concurrently": "REFRESH MATERIALIZED VIEW CONCURRENTLY {v}",
    "empty view": "REFRESH MATERIALIZED VIEW {v} WITH NO DATA",
    "nextval": "SELECT nextval('free') FROM generate_series(0, {n})",
    "setval": "SELECT setval('free', {n} + 1, {n} % 2 = 0)",
    "large object": "SELECT lo_from_bytea(0, repeat('x', {n})::bytea)",
    "change large object": "SELECT lo_put(4711, {n}, 'changed')",
    "lock": "SELECT * FROM {t} FOR UPDATE",
    "savepoint": "SAVEPOINT here; INSERT INTO {t} (id) VALUES ({n} + 20); ROLLBACK TO here",
    "prepare": "PREPARE TRANSACTION 'gid {n}'",
    "change and back": "CREATE TABLE gone (x int); DROP TABLE gone",
}
# Most programs leave the schema alone: after a change there is nothing more to be put back.
CHANGES = {
    "create table": "CREATE TABLE IF NOT EXISTS extra (x int)",
    "add column": "ALTER TABLE {t} ADD IF NOT EXISTS extra int DEFAULT {n}",
    "drop column": "ALTER TABLE {t} DROP IF EXISTS name CASCADE",
    "create index": "CREATE INDEX IF NOT EXISTS extra ON {t} (ref)",
    "alter sequence": "ALTER SEQUENCE free INCREMENT {n}",
    "comment": "COMMENT ON TABLE {t} IS 'changed {n}'",
    "disable trigger": "ALTER TABLE {t} DISABLE TRIGGER ALL",
    "drop table": "DROP TABLE {t} CASCADE",
    "rename": "ALTER TABLE {t} RENAME ref TO renamed",
}
STATEMENTS = {**STEPS, **CHANGES}
OTHERS = ["copy", "commit", "rollback"]
# The catalog by what the system itself says of it, not by the plugin's fingerprint.
CATALOGS = """
SELECT a.attrelid::int8, a.attnum, n.nspname || '.' || c.relname || '.' || a.attname,
    format_type(a.atttypid, a.atttypmod) || coalesce(pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef d ON (d.adrelid, d.adnum) = (a.attrelid, a.attnum)
WHERE c.oid >= 16384 AND a.attnum > 0 AND n.nspname !~ '^(pg_|information_schema)'
UNION ALL SELECT oid::int8, 0, 'constraint', pg_get_constraintdef(oid) FROM pg_constraint
WHERE oid >= 16384
UNION ALL SELECT i.indexrelid::int8, 0, 'index', pg_get_indexdef(i.indexrelid) FROM pg_index i
JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid >= 16384 AND n.nspname !~ '^(pg_|information_schema)'
UNION ALL SELECT seqrelid::int8, 0, 'sequence', seqincrement::text FROM pg_sequence
UNION ALL SELECT oid::int8, 0, 'trigger', tgname || tgenabled::text FROM pg_trigger
UNION ALL SELECT objoid::int8, objsubid, 'comment', description FROM pg_description
WHERE objoid >= 16384
ORDER BY 1, 2, 3, 4
"""
STEP = st.builds(
    Step,
    st.sampled_from([*sorted(STATEMENTS), *sorted(STEPS) * 3, *OTHERS * 4]),
    st.integers(0, 4),
    st.integers(0, 12),
    st.integers(0, 2),
)


def name_of(tables: list[Table], number: int, part: str = "") -> str:
    number %= len(tables)
    return f'"Other One"."t {number}{part}"' if number % 2 else f"t{number}{part}"


def create(conn: Connection, tables: list[Table]) -> None:
    conn.execute(REFUSE)
    for number, table in enumerate(tables):
        name = name_of(tables, number)
        part, rest = (name_of(tables, number, part) for part in ("_part", "_rest"))
        conn.execute(KINDS[table.kind].format(t=name, part=part, rest=rest))
        conn.execute(
            f"INSERT INTO {name} (id, name, ref) SELECT i, 'seed ' || i || repeat('z', 900 * i),"
            f" NULLIF(i, 2) FROM generate_series(1, {table.seeds}) i"
        )
        if table.view:
            conn.execute(f"CREATE MATERIALIZED VIEW v{number} AS SELECT id, name FROM {name}")
            conn.execute(f"CREATE UNIQUE INDEX ON v{number} (id)")
    for number, table in enumerate(tables):
        if table.target is not None:
            add_foreign_key(conn, tables, number)
    conn.execute("SELECT lo_from_bytea(4711, 'kept')")


def add_foreign_key(conn: Connection, tables: list[Table], number: int) -> None:
    target = (tables[number].target or 0) % len(tables)
    if tables[target].kind in REFERENCED:
        name, action = name_of(tables, number), tables[number].action
        clause = action if action.startswith("NO") else f"ON DELETE {action}"
        clause = clause.removeprefix("NO ACTION")
        parent = name_of(tables, target)
        conn.execute(f"UPDATE {name} SET ref = NULL WHERE ref NOT IN (SELECT id FROM {parent})")
        conn.execute(f"ALTER TABLE {name} ADD FOREIGN KEY (ref) REFERENCES {parent} (id) {clause}")


def run(tables: list[Table], conns: list[Connection], step: Step) -> None:
    conn = conns[step.conn]
    name = name_of(tables, step.table)
    try:
        if step.what == "commit":
            conn.commit()
        elif step.what == "rollback":
            conn.rollback()
        elif step.what == "copy":
            with conn.cursor().copy(f"COPY {name} (id, name) FROM STDIN") as copy:
                for number in range(step.number):
                    copy.write_row((100 + number, "copied"))
        else:
            view = f"v{step.table % len(tables)}"
            values: dict[str, Any] = {"t": name, "v": view, "n": step.number, "m": "NULL"}
            if step.number % 3 == 0:
                values["m"] = step.number // 3
            conn.execute(STATEMENTS[step.what].format(**values))
    except psycopg.Error:
        # The application's errors are its own; what they leave behind is the matter here.
        if not conn.closed and step.number % 2:
            conn.rollback()


def catalogs(db: Database) -> list[Any]:
    with psycopg.connect(db.dsn, autocommit=True) as conn:
        return conn.execute(CATALOGS).fetchall()


def is_restored(db: Database, catalogs_before: list[Any]) -> bool:
    """Put the baseline back, or tell that the schema was changed; nothing else may happen."""
    assert db.baseline
    restored, failure = None, None
    try:
        restored = restore.restore(db.berth, db.baseline, lock_timeout=0.05)
    except restore.LeftOpen as error:
        restored, failure = error.restored, error.__cause__
    except restore.SchemaChanged as error:
        failure = error
    if restored is None:
        assert isinstance(failure, restore.SchemaChanged)
        assert catalogs(db) != catalogs_before
        return False
    db.baseline = restored.baseline
    db.compare()
    assert catalogs(db) == catalogs_before
    return True


# Parts are there so that processes can share them; a nightly run asks for many in one.
@pytest.mark.parametrize("part", [0, *([] if EXAMPLES else nightly(1))])
@settings(
    max_examples=int(EXAMPLES or USUAL),
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
@given(
    tables=st.lists(TABLE, min_size=1, max_size=5),
    programs=st.lists(st.lists(STEP, min_size=1, max_size=12), min_size=1, max_size=2),
    in_one_message=st.booleans(),
)
def test_the_repair_gives_back_what_was_there(
    restore_server: str,
    part: int,
    tables: list[Table],
    programs: list[list[Step]],
    in_one_message: bool,
) -> None:
    with new_database(restore_server) as db:
        db.in_one_message = in_one_message
        create(db.app, tables)
        db.capture()
        before = catalogs(db)
        for program in programs:
            conns = [db.connect(autocommit=conn == 0) for conn in range(3)]
            for conn in conns:
                conn.execute("SET lock_timeout = '10ms'")
                conn.commit()
            for step in program:
                run(tables, conns, step)
            if not is_restored(db, before):
                break
