"""Notes, by an event trigger, whether commands were run that may change the schema.

Comparing the whole catalog takes ten milliseconds; this takes none where nothing was altered.
Only a superuser may create event triggers, and only databases made for the tests get one.
It sees all commands but those that the sentinel shows (CREATE, ALTER, DROP EVENT TRIGGER, ALTER
DATABASE, REASSIGN OWNED), and but those that `explained` tells of.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.restore.transactions import Connection, row

if TYPE_CHECKING:
    from collections.abc import Collection

# Tools that list or dump schemas pass over this one.
NOTES = sql.Identifier("information_schema", "berth_ddl")

PRESENT = """
SELECT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = 'berth_ddl'),
    r.rolsuper AND EXISTS (SELECT FROM pg_catalog.pg_extension WHERE extname = 'plpgsql')
FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
"""
# What becomes of temporary objects and of the rows of materialized views is no change.
# pg_dump leaves out what belongs to an extension: the application's dump can be restored elsewhere.
INSTALL = """
BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE;
CREATE UNLOGGED TABLE information_schema.berth_ddl (
    transaction xid8 NOT NULL DEFAULT pg_catalog.pg_current_xact_id()
);
CREATE FUNCTION information_schema.berth_ddl() RETURNS event_trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF tg_tag <> 'REFRESH MATERIALIZED VIEW' AND (
        NOT EXISTS (SELECT FROM pg_event_trigger_ddl_commands())
        OR EXISTS (
            SELECT FROM pg_event_trigger_ddl_commands()
            WHERE schema_name IS DISTINCT FROM 'pg_temp'
        )
    ) THEN
        INSERT INTO information_schema.berth_ddl DEFAULT VALUES;
    END IF;
END$$;
CREATE EVENT TRIGGER berth_ddl ON ddl_command_end
    EXECUTE FUNCTION information_schema.berth_ddl();
ALTER EVENT TRIGGER berth_ddl ENABLE ALWAYS;
ALTER EXTENSION plpgsql ADD EVENT TRIGGER berth_ddl;
DELETE FROM information_schema.berth_ddl;
COMMIT;
"""
NOTED = "SELECT ARRAY(SELECT transaction::text FROM information_schema.berth_ddl)"
# What has a name before the line's end is told by it; the rest only leads to a comparison. Comments
# are not read by shobj_description(), which takes as long as all the rest.
SENTINEL = """
SELECT ARRAY(
    SELECT format('database %s', d.datname) || chr(10) || ROW(
        d.datdba, d.datallowconn, d.datistemplate, d.datconnlimit, d.dattablespace, d.datacl, (
            SELECT c.description FROM pg_catalog.pg_shdescription c
            WHERE c.objoid = d.oid AND c.classoid = 'pg_catalog.pg_database'::pg_catalog.regclass
        )
    )::text
    FROM pg_catalog.pg_database d WHERE d.oid = {database}
    UNION ALL
    SELECT format('subscription %s', s.subname) || chr(10) || ROW(
        s.oid, s.subowner, s.subenabled, pg_catalog.obj_description(s.oid, 'pg_subscription')
    )::text
    FROM pg_catalog.pg_subscription s WHERE s.subdbid = {database}
    UNION ALL
    SELECT chr(10) || ROW(t.*, (
        SELECT d.description FROM pg_catalog.pg_description d
        WHERE d.objoid = t.oid AND d.objsubid = 0
        AND d.classoid = 'pg_catalog.pg_event_trigger'::pg_catalog.regclass
    ))::text
    FROM pg_catalog.pg_event_trigger t
    UNION ALL
    SELECT chr(10) || ROW(s.*)::text
    FROM pg_catalog.pg_db_role_setting s WHERE s.setdatabase = {database}
    UNION ALL
    SELECT chr(10) || ROW(count(*), sum(pg_catalog.hashtextextended(ROW(
        o.classid, o.objid, o.objsubid, o.refclassid, o.refobjid, o.deptype
    )::text, 0)))::text
    FROM pg_catalog.pg_shdepend o WHERE o.dbid = {database}
    ORDER BY 1
)
"""


def install(connection: Connection) -> bool:
    """Have schema changes noted from now on; tell whether they are."""
    present, able = row(connection, PRESENT)
    if not present and able:
        connection.execute(INSTALL)
    return bool(able)


def sentinel(database: sql.Literal) -> sql.Composed:
    """Return the query for what changes by the commands for which no event trigger fires."""
    return sql.SQL(SENTINEL).format(database=database)


def named(before: Collection[str], after: Collection[str]) -> list[str]:
    """Return what differs between two sentinels, of that which has a name."""
    old, new = (dict(each.split("\n", 1) for each in found) for found in (before, after))
    return [
        f"{name} was {'altered' if name in old and name in new else _gone_or_new(name in old)}"
        for name in sorted(filter(None, old.keys() | new.keys()))
        if old.get(name) != new.get(name)
    ]


def _gone_or_new(gone: bool) -> str:
    return "dropped" if gone else "created"


def forget(connection: Connection, transactions: Collection[str]) -> None:
    """Delete the notes of transactions that have left the schema as it was."""
    if transactions:
        connection.execute(
            sql.SQL("DELETE FROM {} WHERE transaction = ANY (%s::xid8[])").format(NOTES),
            [list(transactions)],
        )
