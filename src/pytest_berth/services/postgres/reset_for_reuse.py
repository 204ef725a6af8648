"""Resets a server of ours for the next run: drops what tests have left on it.

Databases and roles are dropped. Of what else there is, such as a setting of the server, it is only
told that it is there: such a server is not kept.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psycopg

from pytest_berth.debug_log import ignoring
from pytest_berth.services.postgres.databases import (
    kept_databases,
    run_databases,
    stored_templates,
    template_name,
)
from pytest_berth.services.postgres.server import connections
from pytest_berth.waiting import wait_for, wall_clock

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_berth.api import Server

# What `initdb` makes has object ids below this.
_FIRST_NORMAL = 16384
# Besides the administrator's, the only database of `initdb` that can be connected to.
TEMPLATE = "template1"
_DATABASE, _ROLE = "database ", "role "
_IN_CLUSTER = f"""
SELECT '{_ROLE}' || rolname FROM pg_catalog.pg_roles
WHERE oid >= {_FIRST_NORMAL} AND rolname <> current_user
UNION ALL SELECT '{_DATABASE}' || datname FROM pg_catalog.pg_database d
WHERE oid >= {_FIRST_NORMAL} AND datname !~ '{template_name.PATTERN}'
AND NOT {kept_databases.IS_KEPT}
UNION ALL SELECT 'tablespace ' || spcname FROM pg_catalog.pg_tablespace
WHERE oid >= {_FIRST_NORMAL}
UNION ALL SELECT 'setting of role or database' FROM pg_catalog.pg_db_role_setting
UNION ALL SELECT 'setting ' || name FROM pg_catalog.pg_file_settings
WHERE sourcefile LIKE '%postgresql.auto.conf'
UNION ALL SELECT 'replication slot ' || slot_name FROM pg_catalog.pg_replication_slots
UNION ALL SELECT 'subscription ' || subname FROM pg_catalog.pg_subscription
UNION ALL SELECT 'prepared transaction ' || gid FROM pg_catalog.pg_prepared_xacts
UNION ALL SELECT 'replication origin ' || roname FROM pg_catalog.pg_replication_origin
UNION ALL SELECT 'state of role ' || rolname FROM pg_catalog.pg_roles
WHERE (oid < {_FIRST_NORMAL} OR rolname = current_user) AND (
  rolconnlimit <> -1 OR rolvaliduntil IS NOT NULL
  OR pg_catalog.shobj_description(oid, 'pg_authid') IS NOT NULL
  OR rolsuper <> (rolname = current_user) OR rolcanlogin <> (rolname = current_user)
)
UNION ALL SELECT 'membership of ' || member::regrole || ' in ' || roleid::regrole
FROM pg_catalog.pg_auth_members WHERE NOT (
  member = 'pg_monitor'::regrole AND roleid IN (
    'pg_read_all_settings'::regrole, 'pg_read_all_stats'::regrole, 'pg_stat_scan_tables'::regrole
  )
)
UNION ALL SELECT 'state of database ' || datname FROM pg_catalog.pg_database
WHERE oid < {_FIRST_NORMAL} AND (
  datconnlimit <> -1 OR datdba::regrole::text <> pg_catalog.quote_ident(current_user)
  OR datistemplate = (datname = 'postgres') OR datallowconn = (datname = 'template0')
  OR (datacl IS NULL) <> (datname = 'postgres')
  OR EXISTS (
    SELECT FROM pg_catalog.aclexplode(datacl)
    WHERE grantee NOT IN (0, datdba) OR grantee = 0 AND privilege_type <> 'CONNECT'
  )
  OR coalesce(pg_catalog.shobj_description(oid, 'pg_database'), '') NOT IN (
    'default template for new databases', 'unmodifiable empty database',
    'default administrative connection database'
  )
)
UNION ALL SELECT 'state of tablespace ' || spcname FROM pg_catalog.pg_tablespace
WHERE oid < {_FIRST_NORMAL} AND (
  spcacl IS NOT NULL OR spcoptions IS NOT NULL
  OR pg_catalog.shobj_description(oid, 'pg_tablespace') IS NOT NULL
)
"""
_IN_DATABASE = f"""
SELECT 'relation ' || relname FROM pg_catalog.pg_class WHERE oid >= {_FIRST_NORMAL}
UNION ALL SELECT 'function ' || proname FROM pg_catalog.pg_proc WHERE oid >= {_FIRST_NORMAL}
UNION ALL SELECT 'schema ' || nspname FROM pg_catalog.pg_namespace WHERE oid >= {_FIRST_NORMAL}
UNION ALL SELECT 'type ' || typname FROM pg_catalog.pg_type WHERE oid >= {_FIRST_NORMAL}
UNION ALL SELECT 'large object ' || oid FROM pg_catalog.pg_largeobject_metadata
UNION ALL SELECT 'extension ' || extname FROM pg_catalog.pg_extension WHERE oid >= {_FIRST_NORMAL}
UNION ALL SELECT 'publication ' || pubname FROM pg_catalog.pg_publication
UNION ALL SELECT 'event trigger ' || evtname FROM pg_catalog.pg_event_trigger
UNION ALL SELECT 'foreign server ' || srvname FROM pg_catalog.pg_foreign_server
UNION ALL SELECT 'default rights of ' || defaclrole::regrole FROM pg_catalog.pg_default_acl
"""
# Who looks at what a failed test has left may go on with it.
_END_OTHERS = f"""
SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
WHERE backend_type = 'client backend' AND pid <> pg_catalog.pg_backend_pid() AND NOT EXISTS (
  SELECT FROM pg_catalog.pg_database d WHERE d.oid = datid AND {kept_databases.IS_KEPT}
)
"""
_END_WITHIN = 10.0


def state_digest(server: Server) -> list[str]:
    """Describe what is on a server beside what `initdb` has made, and templates that are kept."""
    with (
        run_databases.administration(server) as connection,
        connected(server, TEMPLATE) as template,
    ):
        return _condition(in_cluster(connection), connection, template)


def in_cluster(connection: psycopg.Connection[Any]) -> list[str]:
    """Describe what a server has beside the databases that it began with."""
    return _texts(connection, _IN_CLUSTER)


def reset_server(server: Server, run_id: str, there: Sequence[str], password: str) -> list[str]:
    """Drop the databases and roles that were not there; keep the templates of a run.

    Args:
        server: A server of ours that nobody else uses.
        run_id: The run.
        there: What `state_digest` has told of it.
        password: The administrator's from now on.

    Returns:
        What is there now.
    """
    account = replace(server.credentials, password=password)
    with run_databases.administration(server, stays=True) as connection:
        # First, so that what is ended cannot come back.
        run_databases.set_password(connection, account.user, password)
        wait_for(lambda: not _end_others(connection), _END_WITHIN, message="the end of connections")
        kept_databases.drop_over(connection, wall_clock())
        stored_templates.rename(connection, run_id)
        stored_templates.drop_oldest(connection)
        found = in_cluster(connection)
        new = [each for each in found if each not in there]
        for name in _names(new, _DATABASE):
            run_databases.remove(connection, name)
        roles = list(_names(new, _ROLE))
        with connected(replace(server, credentials=account), TEMPLATE) as template:
            dependent = psycopg.errors.DependentObjectsStillExist
            with ignoring(dependent, why="roles that a template refers to stay, and are told of"):
                _drop_roles(roles, connection, template)
            # What nothing was dropped of is as it was: nobody else can connect.
            left = in_cluster(connection) if new else found
            return _condition(left, connection, template)


def connected(server: Server, database: str) -> psycopg.Connection[Any]:
    """Connect to a database of the server, in autocommit mode."""
    return connections.connect(server, database)


def _drop_roles(
    roles: Sequence[str], connection: psycopg.Connection[Any], template: psycopg.Connection[Any]
) -> None:
    for role in roles:
        for each in (connection, template):
            run_databases.execute(each, "DROP OWNED BY {} CASCADE", role)
        run_databases.execute(connection, "DROP ROLE {}", role)


def _condition(
    cluster: Sequence[str], connection: psycopg.Connection[Any], template: psycopg.Connection[Any]
) -> list[str]:
    in_template = (f"{each} in {TEMPLATE}" for each in _in_database(template))
    return sorted([*cluster, *_in_database(connection), *in_template])


def _end_others(connection: psycopg.Connection[Any]) -> list[Any]:
    return connection.execute(_END_OTHERS.encode()).fetchall()


def _in_database(connection: psycopg.Connection[Any]) -> list[str]:
    return _texts(connection, _IN_DATABASE)


def _texts(connection: psycopg.Connection[Any], query: str) -> list[str]:
    return [text for (text,) in connection.execute(query.encode()).fetchall()]


def _names(texts: Iterable[str], kind: str) -> Iterator[str]:
    return (text.removeprefix(kind) for text in texts if text.startswith(kind))
