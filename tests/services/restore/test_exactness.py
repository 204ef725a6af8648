"""The corners: physical order, several baselines, settings, marks and their arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from pytest_berth.services.postgres import restore
from pytest_berth.services.postgres.restore.log_positions import LogPosition, Snapshot

from .conftest import LOCK_TIMEOUT

if TYPE_CHECKING:
    from .conftest import Database

SEEDED = """
CREATE TABLE item (id serial PRIMARY KEY, name text UNIQUE);
INSERT INTO item (name) SELECT 'seed ' || i FROM generate_series(1, 5) i;
"""


def test_nothing_is_touched_when_nothing_changed(db: Database) -> None:
    db.app.execute(SEEDED)
    db.capture()
    db.app.execute("SELECT * FROM item")
    db.connect().execute("SELECT * FROM item")
    assert not db.changed()
    assert db.restore() == restore.Restored(db.baseline)


def test_only_what_is_dirty_is_touched(db: Database) -> None:
    db.app.execute(SEEDED + "CREATE TABLE other (id serial); CREATE TABLE third (id int)")
    db.app.execute("INSERT INTO third VALUES (1)")
    db.capture()
    db.app.execute("INSERT INTO other DEFAULT VALUES; UPDATE item SET name = 'x' WHERE id = 1")
    restored = db.restore()
    assert set(restored.tables) == {"public.item", "public.other"}
    assert restored.sequences == ("public.other_id_seq",)


def test_other_databases_are_not_touched(db: Database, restore_server: str) -> None:
    db.app.execute(SEEDED)
    db.capture()
    with psycopg.connect(restore_server) as elsewhere:
        elsewhere.execute("CREATE TABLE not_ours (x int)")
        db.app.execute("DELETE FROM item")
        db.restore()
        assert elsewhere.execute("SELECT * FROM not_ours").fetchall() == []
        elsewhere.rollback()


def test_rows_come_back_in_their_order_where_vacuum_left_holes(db: Database) -> None:
    # Rows of many widths fall into the holes that fit them, before and behind each other.
    db.app.execute(
        "CREATE TABLE item (id int PRIMARY KEY, name text);"
        "CREATE TABLE child (item int REFERENCES item ON DELETE CASCADE);"
        "INSERT INTO item SELECT i, repeat('x', 20 + i % 7 * 250) FROM generate_series(1, 900) i;"
        "INSERT INTO child SELECT generate_series(1, 900)"
    )
    db.app.execute("DELETE FROM item WHERE id % 5 = 0 OR id / 50 % 4 = 1")
    db.app.execute("VACUUM item")
    db.capture()
    db.app.execute("UPDATE item SET name = 'y' WHERE id = 801")
    db.restore()


def test_rows_come_back_in_their_order_after_a_rewrite(db: Database) -> None:
    db.app.execute("CREATE TABLE item (id int PRIMARY KEY); INSERT INTO item VALUES (3), (1), (2)")
    db.capture()
    db.app.execute("CLUSTER item USING item_pkey; ALTER TABLE item SET WITHOUT CLUSTER")
    db.restore()


def test_a_baseline_within_a_baseline(db: Database) -> None:
    db.app.execute(SEEDED)
    outer, of_outer = db.capture(), db.before
    db.app.execute("UPDATE item SET name = 'of the module' WHERE id = 1")
    db.capture()
    for _ in range(2):
        db.app.execute("DELETE FROM item; INSERT INTO item VALUES (1, 'of a test')")
        db.restore()
    assert db.baseline
    restore.release(db.berth, db.baseline)
    db.baseline, db.before = outer, of_outer
    db.restore()


def test_settings_of_the_database_do_not_matter(db: Database) -> None:
    db.app.execute(SEEDED)
    for setting in (
        "default_transaction_read_only = on",
        "default_transaction_isolation = 'serializable'",
        "statement_timeout = '3ms'",
        "search_path = 'nowhere'",
    ):
        db.app.execute(f"ALTER DATABASE shop SET {setting}")
    berth = psycopg.connect(db.dsn, autocommit=True, row_factory=dict_row)
    db.dsn = make_conninfo(db.dsn, options="-c statement_timeout=0 -c search_path=public")
    db.capture(berth)
    db.app.execute("DELETE FROM public.item")
    assert db.restore().tables == ("public.item",)


def test_the_application_sees_no_copies(db: Database) -> None:
    db.app.execute(SEEDED)
    db.capture()
    query = "SELECT count(*) FROM pg_class WHERE relname ~ 'berth' AND pg_table_is_visible(oid)"
    assert db.app.execute(query).fetchone() == (0,)


def test_tables_whose_deletions_are_published_without_identity_come_back(db: Database) -> None:
    db.app.execute(
        "CREATE TABLE item (id int); CREATE PUBLICATION pub FOR TABLE item;"
        "CREATE TABLE seeded (id int); INSERT INTO seeded VALUES (1)"
    )
    db.app.execute("ALTER PUBLICATION pub ADD TABLE seeded")
    db.capture()
    db.app.execute("INSERT INTO item VALUES (1); INSERT INTO seeded VALUES (2)")
    db.restore()


def test_five_hundred_tables_and_many_seeds_come_back(db: Database) -> None:
    for number in range(250):
        db.app.execute(f"CREATE TABLE t{number} (id serial)")
    db.app.execute("CREATE TABLE big AS SELECT i, 'x' AS t FROM generate_series(1, 20000) i")
    db.capture()
    db.app.execute("INSERT INTO t7 DEFAULT VALUES; INSERT INTO t249 DEFAULT VALUES")
    db.app.execute("UPDATE big SET t = 'y' WHERE i = 5")
    db.restore()


@pytest.mark.parametrize(
    ("mark", "now", "moved"),
    [
        ("10:10:", "10:10:", False),
        ("10:10:", "11:11:", True),
        ("10:10:", "10:12:10,11", False),
        ("10:10:", "10:12:10", True),
        ("10:12:10", "10:12:10", False),
        ("10:12:10", "12:12:", True),
    ],
)
def test_a_mark_knows_whether_a_transaction_ended(mark: str, now: str, moved: bool) -> None:
    assert LogPosition(Snapshot.parse(mark)).moved(Snapshot.parse(now)) is moved


def test_a_mark_does_not_count_its_own_transactions() -> None:
    mark = LogPosition(Snapshot.parse("10:10:")).advanced(Snapshot.parse("10:10:"), 10)
    assert not mark.moved(Snapshot.parse("11:11:"))
    assert mark.moved(Snapshot.parse("12:12:"))
    assert mark.advanced(Snapshot.parse("20:20:"), None).own == frozenset()


def test_what_commits_while_the_repair_runs_is_noticed_the_next_time(db: Database) -> None:
    db.app.execute(SEEDED)
    baseline = db.capture()
    db.app.execute("INSERT INTO item (name) VALUES ('new')")
    restored = restore.restore(db.berth, baseline, lock_timeout=LOCK_TIMEOUT)
    meanwhile = LogPosition(restored.baseline.position.snapshot, restored.baseline.position.own)
    db.app.execute("UPDATE item SET name = 'late' WHERE id = 1")
    assert meanwhile.moved(Snapshot.now(db.berth))
    db.baseline = restored.baseline
    assert db.restore().tables == ("public.item",)
