"""What a test changes beside its database: roles, settings of the server, tablespaces, slots,
and what databases that `initdb` makes are set to.

All tests of a run share the server, so that only a run's one process can tell whose a change is;
with several workers, and on a server that is not berth's own, nothing of this is looked at.
What can be is put back; what cannot be is told once, and from then on taken for granted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql

from pytest_berth.debug_log import debug
from pytest_berth.services.postgres.databases import run_databases
from pytest_berth.services.postgres.server import connections, parked_connection
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_berth.api import Server

State = dict[str, dict[str, str]]

# Those that `initdb` makes (postgres, template0, template1) have object ids below this.
_FIRST_NORMAL = 16384
# Whose rows are told apart by names; roles come first, as others refer to them.
_ROWS = {
    "pg_authid": ("role", "c.rolname", "true"),
    "pg_auth_members": (
        "membership",
        "pg_catalog.format('%s in %s', c.member::regrole, c.roleid::regrole)",
        "true",
    ),
    "pg_db_role_setting": (
        "settings of role",
        "c.setrole::regrole",
        f"c.setdatabase < {_FIRST_NORMAL}",
    ),
    "pg_shdescription": (
        "comment on",
        "pg_catalog.format('%s %s', c.classoid::regclass, c.objoid)",
        "(c.classoid IN ('pg_authid'::regclass, 'pg_tablespace'::regclass)"
        f" OR c.classoid = 'pg_database'::regclass AND c.objoid < {_FIRST_NORMAL})",
    ),
    "pg_shdepend": (
        "dependency of",
        "pg_catalog.format('%s %s %s', c.classid::regclass, c.objid, c.refobjid)",
        f"c.dbid = 0 AND (c.classid <> 'pg_database'::regclass OR c.objid < {_FIRST_NORMAL})",
    ),
    "pg_parameter_acl": ("rights to the setting", "c.parname", "true"),
    "pg_tablespace": ("tablespace", "c.spcname", "true"),
}
_OTHERS = f"""
UNION ALL SELECT 'database', datname, '' FROM pg_catalog.pg_database WHERE datname !~ '^berth_'
UNION ALL SELECT 'slot', slot_name, '' FROM pg_catalog.pg_replication_slots WHERE NOT temporary
UNION ALL SELECT 'origin', roname, '' FROM pg_catalog.pg_replication_origin
UNION ALL SELECT 'properties of', datname,
pg_catalog.concat_ws(' ', datconnlimit, datallowconn, datistemplate) FROM pg_catalog.pg_database
WHERE oid < {_FIRST_NORMAL}
UNION ALL SELECT 'rights to', datname, coalesce(datacl::text, '') FROM pg_catalog.pg_database
WHERE oid < {_FIRST_NORMAL}
"""
# What ALTER SYSTEM has set. That takes longer to read than all else, so each test only looks
# whether the file of these settings has changed.
_SETTINGS = """
SELECT 'setting', name, setting FROM pg_catalog.pg_file_settings
WHERE sourcefile LIKE '%/postgresql.auto.conf'
"""
# Prepared, as to plan it takes longer than to run it; one text, which mostly is what it was.
_TOLD = "berth_server_objects"
_PREPARE = """
PREPARE {told} AS SELECT pg_catalog.json_agg(ARRAY[kind, name, text])
FROM ({query}) AS found (kind, name, text)
"""
_FILE = "SELECT 'file', '', pg_catalog.pg_read_file('postgresql.auto.conf')"
# What changes without a transaction.
_SIGN = """
SELECT pg_catalog.pg_read_file('postgresql.auto.conf'),
    ARRAY(SELECT slot_name FROM pg_catalog.pg_get_replication_slots())
"""
# What refers to a role may be in a database that is being dropped in the background.
_DROPPED_WITHIN = 5.0


@dataclass
class ServerObjects:
    """What there is on a server beside databases of tests.

    Attributes:
        server: The server.
        watched: Whether changes can be told, and are put back.
        note: Tells the user what could not be put back.
    """

    server: Server
    watched: bool
    note: Callable[[str], None] = field(repr=False)
    _connection: psycopg.Connection[Any] | None = field(default=None, init=False, repr=False)
    _known: State | None = field(default=None, init=False, repr=False)
    # What ALTER SYSTEM had set, and the file that says so.
    _settings: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    _file: dict[str, str] | None = field(default=None, init=False, repr=False)
    _sign: object = field(default=None, init=False, repr=False)
    # What there is, as the server has told it.
    _told: bytes | None = field(default=None, init=False, repr=False)

    def expect_changes(self) -> None:
        """Take what is there when the next test begins for granted."""
        self._known = None

    def remember(self) -> None:
        """Remember what there is before a test, unless that is known."""
        if self.watched and self._known is None:
            self._note_as_it_is()

    def put_back(self, who: str, *, wrote: bool) -> None:
        """Put back what a test has changed.

        Args:
            who: The test's name.
            wrote: Whether there were transactions that have written.
        """
        known = self._known
        if known is None or not (wrote or self._cheap() != self._sign):
            return
        told = self._ask()
        now = known if told == self._told else _state(told)
        if now == known:
            self._told = told
            if not wrote:
                self._sign = self._cheap()
            return
        left = self._undo(known, now)
        self._note_as_it_is()
        if left:
            self.note(
                f"postgres: {who} has left on the server what could not be taken back"
                f" ({'; '.join(left)}): let the test remove it"
            )

    def close(self) -> None:
        """Leave the connection to the end of the run, which looks at what can be kept."""
        connection, self._connection, self._known = self._connection, None, None
        if connection is None:
            return
        try:
            connection.execute(f"DEALLOCATE {_TOLD}")
        except psycopg.Error as error:
            debug("%s: berth's connection is closed: %s", self.server.key, error)
            connection.close()
        else:
            parked_connection.park(self.server, connection)

    def _open(self) -> psycopg.Connection[Any]:
        if self._connection is None or self._connection.closed:
            parked = parked_connection.take(self.server)
            self._connection = parked or connections.administrative(
                connections.connect, self.server
            )
            query = _query(self._connection.info.server_version, _FILE)
            self._connection.execute(_PREPARE.format(told=_TOLD, query=query).encode())
        return self._connection

    def _rows(self, query: str) -> list[tuple[Any, ...]]:
        try:
            return self._open().execute(query.encode()).fetchall()
        except psycopg.OperationalError:
            if not (self._connection and self._connection.closed):
                raise
        # A test has ended all connections.
        return self._open().execute(query.encode()).fetchall()

    def _cheap(self) -> object:
        return self._rows(_SIGN)

    def _note_as_it_is(self) -> None:
        """Take what there is for what later tests are to find."""
        self._told = self._ask()
        known = _state(self._told)
        if known["file"] != self._file:
            self._settings, self._file = self._file_settings(), known["file"]
        self._known, self._sign = known, self._cheap()

    def _file_settings(self) -> dict[str, str]:
        return {name: value for _, name, value in self._rows(_SETTINGS)}

    def _ask(self) -> bytes:
        """Return what there is, as the server tells it."""
        statement = f"EXECUTE {_TOLD}"
        told = connections.value(self._open(), statement)
        # Where a test has ended all connections, the next one knows the statement, too.
        return json.dumps(self._rows(statement)[0][0]).encode() if told is None else told

    def _undo(self, known: State, now: State) -> list[str]:
        """Put everything back; return what could not be."""
        left: list[str] = []
        # First, as roles are only dropped without rights.
        self._set_databases_back(known)
        for kind, remove in _REMOVE.items():
            if kind != "role":
                gone = known.get(kind, {}).keys() - now.get(kind, {}).keys()
                left += [f"{kind} {name} was dropped" for name in sorted(gone)]
            for name in now.get(kind, {}).keys() - known.get(kind, {}).keys():
                try:
                    remove(self._open(), name)
                except (psycopg.Error, TimeoutError) as error:
                    left.append(f"{kind} {name}: {str(error).splitlines()[0]}")
        if now["file"] != known["file"]:
            self._set_back(self._file_settings(), self._settings)
        with self._open().transaction():
            for catalog, (kind, _, where) in _catalogs(self._open().info.server_version):
                _put_rows_back(self._open(), catalog, where, list(known.get(kind, {}).values()))
        return left

    def _set_databases_back(self, known: State) -> None:
        for name, properties in known["properties of"].items():
            rights = known["rights to"][name]
            self._open().execute(_SET_DATABASE_BACK, [*properties.split(), rights, name])

    def _set_back(self, now: dict[str, str], known: dict[str, str]) -> None:
        changed = {name for name in now.keys() | known.keys() if now.get(name) != known.get(name)}
        for name in changed:
            setting = sql.SQL(".").join(map(sql.Identifier, name.split(".")))
            statement = sql.SQL("ALTER SYSTEM RESET {}").format(setting)
            if name in known:
                value = sql.Literal(known[name])
                statement = sql.SQL("ALTER SYSTEM SET {} = {}").format(setting, value)
            self._open().execute(statement)
        if changed:
            self._open().execute("SELECT pg_catalog.pg_reload_conf()")


def _state(told: bytes) -> State:
    found: State = {}
    for kind, name, text in json.loads(told):
        # Several rows may say the same of other objects than those that can be removed.
        found.setdefault(kind, {})[name if kind in _NAMED else text] = text
    return found


def query(version: int) -> str:
    """Return the query for kind, name and text of each thing on a server of a version."""
    return _query(version, _SETTINGS)


def _query(version: int, settings: str) -> str:
    parts = [
        f"SELECT '{kind}', ({name})::text, c::text FROM pg_catalog.{catalog} c WHERE {where}"
        for catalog, (kind, name, where) in _catalogs(version)
    ]
    return f"{' UNION ALL '.join(parts)} {_OTHERS} UNION ALL {settings}"


def _catalogs(version: int) -> Iterator[tuple[str, tuple[str, str, str]]]:
    for catalog, description in _ROWS.items():
        if catalog != "pg_parameter_acl" or version >= 150000:
            yield catalog, description


def _put_rows_back(
    connection: psycopg.Connection[Any], catalog: str, where: str, kept: list[str]
) -> None:
    """Give a catalog the rows that it had; those of roles and tablespaces are never deleted."""
    name = sql.SQL(catalog)
    rows = sql.SQL("(SELECT (text::pg_catalog.{0}).* FROM unnest(%(kept)s::text[]) text)").format(
        name
    )
    values = {"kept": kept}
    if catalog in _NEVER_DELETED:
        found = connection.execute(_COLUMNS, [catalog]).fetchall()
        columns = [sql.Identifier(column) for (column,) in found]
        connection.execute(
            sql.SQL(
                "UPDATE pg_catalog.{0} c SET ({1}) = ROW({2}) FROM {3} k"
                " WHERE k.oid = c.oid AND c::text <> ALL (%(kept)s)"
            ).format(
                name,
                sql.SQL(", ").join(columns),
                sql.SQL(", ").join(sql.SQL("k.{}").format(column) for column in columns),
                rows,
            ),
            values,
        )
    else:
        connection.execute(
            sql.SQL("DELETE FROM pg_catalog.{} c WHERE {} AND c::text <> ALL (%(kept)s)").format(
                name, sql.SQL(where)
            ),
            values,
        )
    if catalog != "pg_tablespace":
        connection.execute(
            sql.SQL(
                "INSERT INTO pg_catalog.{0} SELECT k.* FROM {1} k WHERE NOT EXISTS ("
                "SELECT FROM pg_catalog.{0} c WHERE c::text = k::text)"
            ).format(name, rows),
            values,
        )


def _drop_slot(connection: psycopg.Connection[Any], name: str) -> None:
    """Drop a replication slot, ending what uses it."""

    def is_dropped() -> bool:
        connection.execute(_END_USE, [name])
        connection.execute("SELECT pg_catalog.pg_drop_replication_slot(%s)", [name])
        return True

    wait_for(is_dropped, _DROPPED_WITHIN, ignore=psycopg.errors.ObjectInUse)


def _drop_origin(connection: psycopg.Connection[Any], name: str) -> None:
    connection.execute("SELECT pg_catalog.pg_replication_origin_drop(%s)", [name])


def _drop(statement: str) -> Callable[[psycopg.Connection[Any], str], None]:
    def drop(connection: psycopg.Connection[Any], name: str) -> None:
        def is_dropped() -> bool:
            run_databases.execute(connection, statement, name)
            return True

        wait_for(is_dropped, _DROPPED_WITHIN, ignore=_REFERRED_TO)

    return drop


_SET_DATABASE_BACK = """
WITH known AS (
    SELECT %s::int AS connlimit, %s::bool AS allowconn, %s::bool AS istemplate,
        nullif(%s, '')::aclitem[] AS acl, %s::name AS name
)
UPDATE pg_catalog.pg_database
SET datconnlimit = connlimit, datallowconn = allowconn, datistemplate = istemplate, datacl = acl
FROM known
WHERE datname = name AND (datconnlimit, datallowconn, datistemplate, datacl)
    IS DISTINCT FROM (connlimit, allowconn, istemplate, acl)
"""
_COLUMNS = """
SELECT attname FROM pg_catalog.pg_attribute WHERE attnum > 0 AND attrelid = %s::regclass
"""
_NEVER_DELETED = frozenset({"pg_authid", "pg_tablespace"})
_END_USE = """
SELECT pg_catalog.pg_terminate_backend(active_pid) FROM pg_catalog.pg_replication_slots
WHERE slot_name = %s AND active
"""
_REFERRED_TO = (
    psycopg.errors.DependentObjectsStillExist,
    psycopg.errors.ObjectNotInPrerequisiteState,
)
_NAMED = frozenset(
    {
        *("role", "tablespace", "database", "slot", "origin", "setting", "file"),
        *("properties of", "rights to"),
    }
)
# In this order: databases and tablespaces belong to roles.
_REMOVE: dict[str, Callable[[psycopg.Connection[Any], str], None]] = {
    "database": run_databases.remove,
    "slot": _drop_slot,
    "origin": _drop_origin,
    "tablespace": _drop("DROP TABLESPACE {}"),
    "role": _drop("DROP ROLE {}"),
}
