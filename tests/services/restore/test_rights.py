"""A role that only owns the database's tables can reset them too, or is told what it lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres import restore

from .test_rows import CYCLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Connection, Database


@pytest.fixture
def owner(db: Database) -> Iterator[Connection]:
    """Yield a connection of a role that owns all tables, and nothing more."""
    db.app.execute("CREATE ROLE owner LOGIN; GRANT CREATE ON SCHEMA public TO owner")
    db.app.execute("SET ROLE owner")
    yield db.connect(autocommit=True, user="owner")
    for other in db.others:
        other.close()
    db.app.execute("RESET ROLE; SET lock_timeout = '5s'; DROP OWNED BY owner CASCADE")
    db.app.execute("DROP ROLE owner")


@pytest.mark.parametrize(
    "change",
    [
        "INSERT INTO a VALUES (2, 1, 1); INSERT INTO child VALUES (2), (1)",
        "INSERT INTO a VALUES (2, NULL, 1); INSERT INTO b VALUES (2, 2); UPDATE a SET b = 2",
        "UPDATE a SET boss = NULL",
        "UPDATE a SET b = NULL; DELETE FROM a",
        "TRUNCATE child, part",
        "INSERT INTO log VALUES (2, 1)",
        "INSERT INTO part VALUES (1, 1), (7, 1)",
        "TRUNCATE part; INSERT INTO part VALUES (7, 1)",
        "INSERT INTO copied VALUES (1); SELECT nextval('free'); SELECT lo_from_bytea(0, 'x')",
        "SELECT lo_put(4711, 1, 'changed')",
        "SELECT lo_unlink(4711)",
        "REFRESH MATERIALIZED VIEW seen; REFRESH MATERIALIZED VIEW unread",
    ],
)
def test_an_owner_puts_back_what_changed_by(db: Database, owner: Connection, change: str) -> None:
    db.app.execute(CYCLE)
    db.app.execute(
        """
        CREATE TABLE log (id int, a int REFERENCES a DEFERRABLE INITIALLY DEFERRED);
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
            AS $$BEGIN RAISE 'append only'; END$$;
        CREATE TRIGGER guard BEFORE DELETE OR TRUNCATE ON log EXECUTE FUNCTION refuse();
        CREATE TRIGGER "always" BEFORE DELETE ON log EXECUTE FUNCTION refuse();
        ALTER TABLE log ENABLE ALWAYS TRIGGER "always";
        CREATE TABLE copied (id int); CREATE TABLE counted (id int);
        CREATE RULE copy AS ON INSERT TO copied DO ALSO INSERT INTO counted VALUES (new.id);
        CREATE TABLE part (id int, a int REFERENCES a ON DELETE CASCADE) PARTITION BY RANGE (id);
        CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (5);
        CREATE TABLE part_2 PARTITION OF part DEFAULT;
        INSERT INTO part VALUES (2, 1), (8, 1);
        CREATE SEQUENCE free;
        CREATE MATERIALIZED VIEW seen AS SELECT * FROM a;
        CREATE MATERIALIZED VIEW unread AS SELECT * FROM a WITH NO DATA;
        SELECT lo_from_bytea(4711, 'kept');
        """
    )
    db.app.execute("INSERT INTO log VALUES (1, NULL)")
    assert not db.capture(owner).replica
    for statement in change.split("; "):
        db.app.execute(statement)
    db.restore()
    assert not db.changed()


def test_an_owner_is_told_of_a_stale_materialized_view(db: Database, owner: Connection) -> None:
    db.app.execute("CREATE TABLE a (id int); CREATE MATERIALIZED VIEW seen AS SELECT * FROM a")
    db.app.execute("INSERT INTO a VALUES (1)")
    db.capture(owner)
    db.app.execute("REFRESH MATERIALIZED VIEW seen")
    with pytest.raises(restore.NotRepairable, match=r"REFRESH MATERIALIZED VIEW public\.seen"):
        db.restore_only()


def test_rows_hidden_by_a_policy_are_an_error_and_no_miss(db: Database, owner: Connection) -> None:
    db.app.execute(
        "CREATE TABLE a (id int); ALTER TABLE a ENABLE ROW LEVEL SECURITY,"
        " FORCE ROW LEVEL SECURITY; CREATE POLICY p ON a USING (false)"
    )
    with pytest.raises(IsolationError, match="BYPASSRLS"):
        db.capture(owner)


def test_a_role_that_may_not_read_a_table_is_told(db: Database, owner: Connection) -> None:
    db.app.execute("RESET ROLE; CREATE TABLE a (id int)")
    with pytest.raises(IsolationError, match="table a"):
        db.capture(owner)


def test_a_backend_the_role_may_not_end_is_named(db: Database, owner: Connection) -> None:
    db.app.execute("CREATE TABLE a (id int)")
    db.capture(owner)
    left = db.connect()
    left.execute("INSERT INTO a VALUES (1)")
    with pytest.raises(IsolationError, match="pg_signal_backend") as caught:
        db.restore_only()
    assert f"pid {left.info.backend_pid}" in str(caught.value)
    assert left.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS
