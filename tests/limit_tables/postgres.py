"""What a test changes in and around its database."""

from __future__ import annotations

from .table import Row, Table

ISOLATIONS = ("rollback", "truncation", "database")

SCHEMA = """
CREATE TABLE item (id serial PRIMARY KEY, name text);
INSERT INTO item (name) VALUES ('teapot'), ('cup');
CREATE UNLOGGED TABLE cache AS SELECT 1 AS x;
CREATE MATERIALIZED VIEW names AS SELECT name FROM item;
SELECT lo_from_bytea(4242, 'teapot');
CREATE FUNCTION nothing() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER mine ON ddl_command_start EXECUTE FUNCTION nothing();
CREATE EXTENSION hstore;
CREATE TABLE of_extension AS SELECT 1 AS x;
ALTER EXTENSION hstore ADD TABLE of_extension;
CREATE ROLE standing;
SELECT pg_create_physical_replication_slot('of_' || name)
FROM unnest(ARRAY['rollback', 'truncation', 'database']) name;
"""

DATABASE = Table(
    "Postgres: in the test's database",
    ISOLATIONS,
    (
        Row(
            "`INSERT`, `UPDATE`, `DELETE`, `TRUNCATE`",
            ("DELETE FROM item WHERE id = 1", "INSERT INTO item VALUES (7, 'x')"),
            "SELECT * FROM item ORDER BY id",
            ("bbb", "bbb", "bbb"),
        ),
        Row(
            "Rows in tables of an extension",
            ("INSERT INTO of_extension VALUES (2)",),
            "SELECT * FROM of_extension ORDER BY 1",
            ("bbb", "bbb", "bbb"),
        ),
        Row(
            "`nextval`, `setval`",
            ("SELECT setval('item_id_seq', 90)",),
            "SELECT last_value FROM item_id_seq",
            ("bbb", "bbb", "bbb"),
        ),
        Row(
            "`REFRESH MATERIALIZED VIEW`",
            ("INSERT INTO item VALUES (8, 'x')", "REFRESH MATERIALIZED VIEW names"),
            "SELECT * FROM names ORDER BY 1",
            ("bbb", "bbb", "bbb"),
        ),
        Row(
            "Writes, removes and comments large objects",
            (
                "SELECT lo_put(4242, 0, 'saucer')",
                "SELECT lo_from_bytea(4243, 'x')",
                "COMMENT ON LARGE OBJECT 4242 IS 'x'",
            ),
            "SELECT oid, lo_get(oid), obj_description(oid, 'pg_largeobject')"
            " FROM pg_largeobject_metadata ORDER BY oid",
            ("bbb", "nnn", "bbb"),
        ),
        Row(
            "`PREPARE TRANSACTION`",
            ("BEGIN", "DELETE FROM item", "PREPARE TRANSACTION 'left'"),
            "SELECT count(*) FROM pg_prepared_xacts WHERE database = current_database()",
            ("fff", "bbb", "bbb"),
        ),
        Row(
            "`CREATE TABLE`, `CREATE TYPE`",
            ("CREATE TABLE added (x int)", "CREATE TYPE mood AS ENUM ('low')"),
            "SELECT count(*) FROM pg_class UNION ALL SELECT count(*) FROM pg_type",
            ("bbb", "nnn", "bbb"),
        ),
        Row(
            "`ALTER TABLE`",
            ("ALTER TABLE item ADD price int",),
            "SELECT attname::text FROM pg_attribute WHERE attrelid = 'item'::regclass ORDER BY 1",
            ("bbb", "nnn", "bbb"),
        ),
        Row(
            "`CREATE INDEX CONCURRENTLY`, failed",
            (
                "INSERT INTO item VALUES (9, 'cup')",
                "CREATE UNIQUE INDEX CONCURRENTLY failed ON item (name)",
            ),
            "SELECT count(*) FROM pg_index WHERE NOT indisvalid",
            ("rrr", "nnn", "bbb"),
        ),
        Row(
            "`ALTER EVENT TRIGGER ... DISABLE`",
            ("ALTER EVENT TRIGGER mine DISABLE",),
            "SELECT evtname, evtenabled::text FROM pg_event_trigger WHERE evtname = 'mine'",
            ("bbb", "nnn", "bbb"),
        ),
        Row(
            "`CREATE EXTENSION`, `DROP EXTENSION`",
            ("CREATE EXTENSION citext", "DROP EXTENSION hstore"),
            "SELECT extname::text FROM pg_extension ORDER BY 1",
            ("bbb", "nnn", "bbb"),
        ),
        Row(
            "`CREATE PUBLICATION`",
            ("CREATE PUBLICATION mine FOR ALL TABLES",),
            "SELECT pubname FROM pg_publication",
            ("bbb", "nnn", "bbb"),
        ),
        Row(
            "`CREATE SUBSCRIPTION`",
            (
                "CREATE SUBSCRIPTION mine CONNECTION 'dbname=none' PUBLICATION p"
                " WITH (connect = false)",
            ),
            "SELECT subname FROM pg_subscription JOIN pg_database d ON d.oid = subdbid"
            " WHERE datname = current_database()",
            ("bbb", "nnn", "bbb"),
        ),
        Row(
            "`ALTER DATABASE ... SET`",
            (
                "DO $$BEGIN EXECUTE format('ALTER DATABASE %I SET work_mem = ''3MB''',"
                " current_database()); END$$",
            ),
            "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d"
            " ON d.oid = setdatabase WHERE datname = current_database()",
            ("bbb", "nnn", "bbb"),
        ),
        Row(
            "`ALTER DATABASE ... CONNECTION LIMIT`, `GRANT`, `COMMENT ON DATABASE`",
            (
                "DO $$BEGIN EXECUTE format('ALTER DATABASE %I CONNECTION LIMIT 40',"
                " current_database()); EXECUTE format('COMMENT ON DATABASE %I IS ''x''',"
                " current_database()); EXECUTE format('GRANT CREATE ON DATABASE %I TO PUBLIC',"
                " current_database()); END$$",
            ),
            "SELECT datconnlimit, datacl::text FROM pg_database WHERE datname = current_database()",
            ("bbb", "nnn", "bbb"),
        ),
        Row(
            "`ANALYZE`",
            ("ANALYZE item",),
            "SELECT attname::text FROM pg_stats WHERE tablename = 'item' ORDER BY 1",
            ("bbb", "sss", "sss"),
        ),
        Row(
            "`pg_stat_reset()`",
            ("SELECT pg_stat_reset()", "SELECT pg_sleep(0.01)"),
            "SELECT stats_reset::text FROM pg_stat_database WHERE datname = current_database()",
            ("sss", "sss", "sss"),
        ),
    ),
)

SERVER = Table(
    "Postgres: on the server",
    ISOLATIONS,
    (
        Row(
            "`CREATE ROLE`",
            ("CREATE ROLE limit_role",),
            "SELECT count(*) FROM pg_roles WHERE rolname = 'limit_role'",
            ("bbb", "bss", "bss"),
            ("DROP ROLE limit_role",),
        ),
        Row(
            "`ALTER ROLE` (rights, connection limit, settings)",
            (
                "ALTER ROLE standing CONNECTION LIMIT 9 CREATEDB",
                "ALTER ROLE standing SET work_mem = '8MB'",
            ),
            "SELECT rolconnlimit, rolcreatedb, rolconfig FROM pg_roles WHERE rolname = 'standing'",
            ("bbb", "bss", "bss"),
            (
                "ALTER ROLE standing CONNECTION LIMIT -1 NOCREATEDB",
                "ALTER ROLE standing RESET ALL",
            ),
        ),
        Row(
            "`ALTER ROLE ... PASSWORD`",
            ("ALTER ROLE standing PASSWORD 'left'",),
            "SELECT rolpassword FROM pg_authid WHERE rolname = 'standing'",
            ("bbb", "bss", "bss"),
            ("ALTER ROLE standing PASSWORD NULL",),
        ),
        Row(
            "`GRANT` of a role's membership",
            ("GRANT pg_monitor TO standing",),
            "SELECT count(*) FROM pg_auth_members WHERE member = 'standing'::regrole",
            ("bbb", "bss", "bss"),
            ("REVOKE pg_monitor FROM standing",),
        ),
        Row(
            "`COMMENT ON ROLE`",
            ("COMMENT ON ROLE standing IS 'left'",),
            "SELECT shobj_description('standing'::regrole, 'pg_authid')",
            ("bbb", "bss", "bss"),
            ("COMMENT ON ROLE standing IS NULL",),
        ),
        Row(
            "`CREATE DATABASE`",
            ("CREATE DATABASE limit_database",),
            "SELECT count(*) FROM pg_database WHERE datname = 'limit_database'",
            ("rrr", "bss", "bss"),
            ("DROP DATABASE limit_database",),
        ),
        Row(
            "`ALTER SYSTEM`",
            ("ALTER SYSTEM SET work_mem = '3MB'",),
            "SELECT name FROM pg_file_settings WHERE sourcefile ~ 'auto.conf'"
            " AND name = 'work_mem'",
            ("rrr", "bss", "bss"),
            ("ALTER SYSTEM RESET work_mem",),
        ),
        Row(
            "Creates a replication slot",
            ("SELECT pg_create_physical_replication_slot('limit_slot')",),
            "SELECT slot_name FROM pg_replication_slots WHERE slot_name = 'limit_slot'",
            ("bss", "bss", "bss"),
            ("SELECT pg_drop_replication_slot('limit_slot')",),
        ),
        Row(
            "Creates a logical replication slot",
            ("SELECT pg_create_logical_replication_slot('limit_slot', 'pgoutput')",),
            "SELECT slot_name FROM pg_replication_slots WHERE slot_name = 'limit_slot'",
            ("bss", "bss", "bss"),
            ("SELECT pg_drop_replication_slot('limit_slot')",),
        ),
        Row(
            "Drops a replication slot of a wider fixture",
            ("SELECT pg_drop_replication_slot('of_$isolation')",),
            "SELECT slot_name FROM pg_replication_slots WHERE slot_name = 'of_$isolation'",
            ("tss", "tss", "tss"),
        ),
        Row(
            "Creates a replication origin",
            ("SELECT pg_replication_origin_create('limit_origin')",),
            "SELECT roname FROM pg_replication_origin WHERE roname = 'limit_origin'",
            ("bbb", "bss", "bss"),
            ("SELECT pg_replication_origin_drop('limit_origin')",),
        ),
        Row(
            "Advances a replication origin that it creates",
            (
                "SELECT pg_replication_origin_create('advanced')",
                "SELECT pg_replication_origin_advance('advanced', '0/99')",
            ),
            "SELECT count(*) FROM pg_replication_origin_status",
            ("sss", "bss", "bss"),
            (
                "SELECT pg_replication_origin_create('advanced') WHERE NOT EXISTS"
                " (SELECT FROM pg_replication_origin WHERE roname = 'advanced')",
                "SELECT pg_replication_origin_drop('advanced')",
            ),
        ),
        Row(
            "`ALTER TABLESPACE`",
            ("ALTER TABLESPACE pg_default SET (random_page_cost = 2)",),
            "SELECT spcoptions FROM pg_tablespace WHERE spcname = 'pg_default'",
            ("bbb", "bss", "bss"),
            ("ALTER TABLESPACE pg_default RESET (random_page_cost)",),
        ),
        Row(
            "`ALTER DATABASE postgres` (`CONNECTION LIMIT`, `IS_TEMPLATE`)",
            ("ALTER DATABASE postgres CONNECTION LIMIT 40 IS_TEMPLATE true",),
            "SELECT datconnlimit, datistemplate FROM pg_database WHERE datname = 'postgres'",
            ("bbb", "bss", "bss"),
            ("ALTER DATABASE postgres CONNECTION LIMIT -1 IS_TEMPLATE false",),
        ),
        Row(
            "`GRANT ... ON DATABASE postgres`",
            ("GRANT CREATE ON DATABASE postgres TO PUBLIC",),
            "SELECT has_database_privilege('standing', 'postgres', 'CREATE')",
            ("bbb", "bss", "bss"),
            ("REVOKE CREATE ON DATABASE postgres FROM PUBLIC",),
        ),
        Row(
            "`COMMENT ON DATABASE postgres`",
            ("COMMENT ON DATABASE postgres IS 'left'",),
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database"
            " WHERE datname = 'postgres'",
            ("bbb", "bss", "bss"),
            ("COMMENT ON DATABASE postgres IS 'default administrative connection database'",),
        ),
        Row(
            "`ALTER DATABASE postgres SET`",
            ("ALTER DATABASE postgres SET work_mem = '8MB'",),
            "SELECT setconfig FROM pg_db_role_setting s JOIN pg_database d"
            " ON d.oid = setdatabase WHERE datname = 'postgres'",
            ("bbb", "bss", "bss"),
            ("ALTER DATABASE postgres RESET ALL",),
        ),
        Row(
            "Creates tables in the database `postgres`",
            ("CREATE TABLE limit_table (x int)",),
            "SELECT relname FROM pg_class WHERE relname = 'limit_table'",
            ("sss", "sss", "sss"),
            ("DROP TABLE limit_table",),
            database="postgres",
        ),
        Row(
            "Creates tables in the database `template1`",
            ("CREATE TABLE limit_table (x int)",),
            "SELECT relname FROM pg_class WHERE relname = 'limit_table'",
            ("sss", "sss", "sss"),
            ("DROP TABLE limit_table",),
            database="template1",
        ),
        Row(
            "Writes files (`COPY ... TO PROGRAM`)",
            ("COPY (SELECT 1) TO PROGRAM 'cat > limit_file'",),
            "SELECT (pg_stat_file('limit_file', true)).size",
            ("sss", "sss", "sss"),
            ("COPY (SELECT 1) TO PROGRAM 'cat > /dev/null; rm limit_file'",),
        ),
        Row(
            "`pg_stat_reset_shared('bgwriter')`",
            ("SELECT pg_stat_reset_shared('bgwriter')",),
            "SELECT stats_reset::text FROM pg_stat_bgwriter",
            ("sss", "sss", "sss"),
        ),
    ),
)

COMMIT = Table(
    "Postgres: what belongs to a transaction, after the test's commit",
    ("rollback", "truncation"),
    (
        Row(
            "`SET LOCAL`",
            ("SET LOCAL work_mem = '3MB'",),
            "SELECT current_setting('work_mem') = '3MB'",
            ("lll", "eee"),
        ),
        Row(
            "Temporary tables with `ON COMMIT DROP`",
            ("CREATE TEMP TABLE dropped (x int) ON COMMIT DROP",),
            "SELECT to_regclass('pg_temp.dropped') IS NOT NULL",
            ("lll", "eee"),
        ),
        Row(
            "Rows of temporary tables with `ON COMMIT DELETE ROWS`",
            (
                "CREATE TEMP TABLE emptied ON COMMIT DELETE ROWS AS SELECT 1",
                "INSERT INTO emptied VALUES (2)",
            ),
            "SELECT EXISTS (SELECT FROM emptied)",
            ("lll", "eee"),
        ),
        Row(
            "`pg_advisory_xact_lock`",
            ("SELECT pg_advisory_xact_lock(4242)",),
            "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = 4242)",
            ("lll", "eee"),
        ),
        Row(
            "Locks of rows and tables",
            ("LOCK TABLE item IN EXCLUSIVE MODE",),
            "SELECT EXISTS (SELECT FROM pg_locks WHERE mode = 'ExclusiveLock'"
            " AND relation = 'item'::regclass)",
            ("lll", "eee"),
        ),
        Row(
            "Cursors without `WITH HOLD`",
            ("DECLARE mine CURSOR FOR SELECT 1",),
            "SELECT EXISTS (SELECT FROM pg_cursors WHERE name = 'mine')",
            ("lll", "eee"),
        ),
        Row(
            "`SET TRANSACTION READ ONLY`",
            ("SET TRANSACTION READ ONLY",),
            "SELECT current_setting('transaction_read_only') = 'on'",
            ("eee", "eee"),
        ),
    ),
)
TABLES = (DATABASE, SERVER)
