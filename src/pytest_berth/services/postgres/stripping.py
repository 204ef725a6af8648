"""Leaving on a server only what later runs can use, before its data is kept as a snapshot.

Databases of tests go with their files. What tests can leave beside databases (roles, settings,
tablespaces) is not taken back: data with that is not kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg

from pytest_berth.services.postgres import databases, kept, urls

if TYPE_CHECKING:
    from pytest_berth.service import Server

# What `initdb` makes has object ids below this.
_FIRST_NORMAL = 16384
_LEFT_IN_CLUSTER = f"""
SELECT 'role ' || rolname FROM pg_catalog.pg_roles
WHERE oid >= {_FIRST_NORMAL} AND rolname <> current_user
UNION ALL SELECT 'database ' || datname FROM pg_catalog.pg_database
WHERE oid >= {_FIRST_NORMAL} AND datname !~ '{kept.NAMES}'
UNION ALL SELECT 'tablespace ' || spcname FROM pg_catalog.pg_tablespace
WHERE oid >= {_FIRST_NORMAL}
UNION ALL SELECT 'setting of role or database' FROM pg_catalog.pg_db_role_setting
UNION ALL SELECT 'setting ' || name FROM pg_catalog.pg_file_settings
WHERE sourcefile LIKE '%postgresql.auto.conf'
UNION ALL SELECT 'replication slot ' || slot_name FROM pg_catalog.pg_replication_slots
UNION ALL SELECT 'subscription ' || subname FROM pg_catalog.pg_subscription
UNION ALL SELECT 'prepared transaction ' || gid FROM pg_catalog.pg_prepared_xacts
"""
_LEFT_IN_DATABASE = f"""
SELECT relname::text FROM pg_catalog.pg_class WHERE oid >= {_FIRST_NORMAL}
UNION ALL SELECT proname::text FROM pg_catalog.pg_proc WHERE oid >= {_FIRST_NORMAL}
UNION ALL SELECT nspname::text FROM pg_catalog.pg_namespace WHERE oid >= {_FIRST_NORMAL}
UNION ALL SELECT typname::text FROM pg_catalog.pg_type WHERE oid >= {_FIRST_NORMAL}
UNION ALL SELECT loid::text FROM pg_catalog.pg_largeobject
"""
# Besides the administrator's, the only database of `initdb` that can be connected to.
_TEMPLATE = "template1"
_SHARED = ("pg_authid", "pg_auth_members", "pg_database", "pg_db_role_setting", "pg_shdescription")


def strip(server: Server, run_id: str) -> bool:
    """Drop the run's databases; tell whether what is left is new to the server, and only ours."""
    with databases.administration(server) as connection:
        found = kept.rename(connection, run_id)
        if server.thawed and not found:
            return False
        kept.drop_oldest(connection)
    databases.drop_all(server, run_id)
    with databases.administration(server) as connection:
        if _left(connection, _LEFT_IN_CLUSTER) or _left(connection, _LEFT_IN_DATABASE):
            return False
        with psycopg.connect(urls.dsn(server, _TEMPLATE), autocommit=True) as template:
            if _left(template, _LEFT_IN_DATABASE):
                return False
        _forget(connection)
    return True


def set_password(server: Server, password: str) -> None:
    """Give the administrator another password, sent as what PostgreSQL keeps of it."""
    from psycopg import sql

    user = server.credentials.user
    with databases.administration(server) as connection:
        kept_of_it = connection.pgconn.encrypt_password(password.encode(), user.encode(), None)
        statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
        connection.execute(statement.format(sql.Identifier(user), sql.Literal(kept_of_it.decode())))


def _left(connection: psycopg.Connection[Any], query: str) -> list[str]:
    return [name for (name,) in connection.execute(query.encode()).fetchall()]


def _forget(connection: psycopg.Connection[Any]) -> None:
    """Let no file hold what tests have written: rows that are dead, and the log of writes."""
    for catalog in _SHARED:
        connection.execute(f"VACUUM FULL pg_catalog.{catalog}".encode())
    connection.execute("SELECT pg_catalog.pg_switch_wal()")
    # Segments of the log that are not needed any more are removed: see `launch.FIT_FOR_TESTS`.
    connection.execute("CHECKPOINT")
