"""The databases of a run on a server: a template, and a clone of it for each worker.

Every name carries the run's id, which no other run has, and creating a database fails where its
name is taken. On a server of ours, what bears a run's name was made by that run, and only that is
ever dropped; on an external one, where a person may have copied it under such a name, its comment
has to say so, too. The one exception is the name that the settings fix, and only on a server that
berth has started itself.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from pytest_berth.debug_log import ignoring
from pytest_berth.errors import IsolationError, NotOursError
from pytest_berth.services.postgres.advice import PRIVATE
from pytest_berth.services.postgres.databases import cloning
from pytest_berth.services.postgres.server import (
    connections,
    parked_connection,
    role_rights,
)
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    import psycopg

    from pytest_berth.api import Server

TEMPLATE = "template"
MARK = "pytest-berth"
EMPTY = "template0"
# Of other roles' sessions not even the type is told; autovacuum's have no role.
CLIENTS = """
usesysid IS NOT NULL AND coalesce(backend_type, 'client backend') = 'client backend'
"""
_USERS = f"""
SELECT pid, application_name, coalesce(state, '') FROM pg_catalog.pg_stat_activity
WHERE datname = %s AND {CLIENTS} AND NOT pid = ANY (%s) ORDER BY pid
"""
_IS_TEMPLATE = "SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s AND datistemplate"
_OF_RUN = """
SELECT datname FROM pg_catalog.pg_database WHERE pg_catalog.starts_with(datname, %(prefix)s)
"""
# How many may connect to a database that has not got its comment yet. No person chooses that, and
# no copy has it: it is given with the name, at once, and tells what was interrupted in between.
_IN_THE_MAKING = 1_958_463_217
IS_IN_THE_MAKING = f"""
(pg_catalog.shobj_description(oid, 'pg_database') IS NULL AND datconnlimit = {_IN_THE_MAKING})
"""
_COMMENTED = f"""
(pg_catalog.shobj_description(oid, 'pg_database') LIKE %(comment)s OR {IS_IN_THE_MAKING})
AND pg_catalog.pg_has_role(datdba, 'MEMBER')
"""
# A backend that was told to end needs a moment to roll back.
_BACKENDS_END_WITHIN = 10.0
# A logical replication that is under way is a connection to the database, too.
_END_BACKENDS = """
SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
WHERE datname = %s AND backend_type IN ('client backend', 'walsender')
"""
_IS_HELD = """
SELECT FROM pg_catalog.pg_prepared_xacts WHERE database = %(name)s
UNION ALL
SELECT FROM pg_catalog.pg_subscription s JOIN pg_catalog.pg_database d ON d.oid = s.subdbid
WHERE d.datname = %(name)s
"""
_PREPARED = "SELECT gid FROM pg_catalog.pg_prepared_xacts WHERE database = current_database()"
_SUBSCRIPTIONS = """
SELECT s.subname FROM pg_catalog.pg_subscription s
JOIN pg_catalog.pg_database d ON d.oid = s.subdbid WHERE d.datname = current_database()
"""


def database_name(run_id: str, part: str) -> str:
    """Return the name of a run's database: the template's, or a worker's."""
    return f"{_prefix(run_id)}{part}"


def part(of: str, name: str) -> str:
    """Return the part of the template, or of a worker, for one of an application's databases."""
    return f"{of}_{name}" if name else of


def of_worker(server: Server, run_id: str, worker: str, name: str = "") -> str:
    """Return the name of a worker's database on a server where berth makes databases.

    Args:
        server: The server.
        run_id: The run.
        worker: The worker.
        name: Which of the application's databases; empty for the one that has no name, which the
            settings may fix.
    """
    fixed_name = "" if name else server.credentials.fixed
    return fixed_name or database_name(run_id, part(worker, name))


def expected(server: Server, run_id: str, worker: str) -> str:
    """Return the name of the database that a worker's tests will work in.

    On an external server it is the given one where the role cannot create databases; nothing is
    created yet. A server that does not answer now will fail the tests that need it.
    """
    if server.source == "external":
        import psycopg

        unreachable = ignoring(psycopg.OperationalError, why="tests that need the server tell it")
        with unreachable, administration(server) as connection:
            found = role_rights.find(connection)
            return database_name(run_id, worker) if found.own_databases else found.database
    return of_worker(server, run_id, worker)


@contextmanager
def administration(server: Server, *, stays: bool = False) -> Iterator[psycopg.Connection[Any]]:
    """Connect to the administrator's database, in autocommit mode.

    Args:
        server: The server.
        stays: Whether another step of a start follows, for which the connection is kept.

    Raises:
        NotOursError: Another server has taken the place of the one that berth has started.
    """
    connection = parked_connection.take(server)
    if connection is None:
        connection = connections.administrative(connections.connect, server)
    with ExitStack() as ending:
        ending.callback(connection.close)
        # What is done to databases must outlive a crash, also where commits are not waited for.
        connection.execute("SET synchronous_commit = on")
        yield connection
        if stays:
            ending.pop_all()
            parked_connection.park(server, connection)


def create(
    connection: psycopg.Connection[Any], server: Server, run_id: str, name: str, template: str
) -> None:
    """Create a database of a run as the copy of another one.

    On an external server, where a person may copy it, its comment tells it from the copy.
    """
    if server.source == "external":
        create_marked(connection, name, template, f"a database of the run {run_id}")
    else:
        cloning.create(connection, name, template)


def create_marked(connection: psycopg.Connection[Any], name: str, template: str, text: str) -> None:
    """Create a database that is known as berth's from its first moment on, by its comment then."""
    create_in_the_making(connection, name, template)
    mark_made(connection, name, text)


def create_in_the_making(connection: psycopg.Connection[Any], name: str, template: str) -> None:
    """Create a database that is known as one in the making until `mark_made` is called."""
    cloning.create(connection, name, template, _IN_THE_MAKING)


def mark_made(connection: psycopg.Connection[Any], name: str, text: str) -> None:
    """Give a database the comment by which it is known from now on."""
    comment(connection, name, text)
    execute(connection, f"ALTER DATABASE {{}} CONNECTION LIMIT {cloning.UNLIMITED}", name)


def of_run(connection: psycopg.Connection[Any], server: Server, run_id: str) -> list[str]:
    """Return the databases that a run has provably created on a server."""
    query = _OF_RUN if server.source != "external" else f"{_OF_RUN} AND {_COMMENTED}"
    values = {"prefix": _prefix(run_id), "comment": f"{MARK}: %of the run {run_id}%"}
    return [name for (name,) in connection.execute(query.encode(), values).fetchall()]


def seal(connection: psycopg.Connection[Any], name: str) -> None:
    """Make a database a template that nobody can connect to, so that it can always be cloned.

    What is connected to it is ended: a pooler keeps sessions whose client has gone.

    Raises:
        TimeoutError: A backend did not end.
    """
    execute(connection, "ALTER DATABASE {} WITH ALLOW_CONNECTIONS false IS_TEMPLATE true", name)
    _end_backends(connection, name)


def rename(connection: psycopg.Connection[Any], name: str, new: str) -> None:
    """Give a database another name, ending what is connected to it.

    Raises:
        TimeoutError: A backend did not end.
    """
    _end_backends(connection, name)
    execute(connection, "ALTER DATABASE {} RENAME TO {}", name, new)


def drop(connection: psycopg.Connection[Any], run_id: str, name: str, fixed_name: str = "") -> None:
    """Drop a database of this run, ending what is connected to it.

    Args:
        connection: To the administrator's database.
        run_id: The run's id.
        name: The database's name.
        fixed_name: The one name that settings have chosen, on a server that berth has started.

    Raises:
        NotOursError: The name is not one of this run's.
        TimeoutError: A backend did not end.
    """
    require_ours(name, run_id, fixed_name)
    remove(connection, name)


def remove(connection: psycopg.Connection[Any], name: str) -> None:
    """Drop a database of a server that is ours as a whole, ending what is connected to it.

    Raises:
        TimeoutError: A backend did not end.
    """
    # DROP DATABASE WITH (FORCE) would look again after a tenth of a second only.
    _end_backends(connection, name)
    _let_go(connection, name)
    unseal(connection, name)
    execute(connection, "DROP DATABASE {} WITH (FORCE)", name)


def unseal(connection: psycopg.Connection[Any], name: str) -> None:
    """Let a database be dropped that may be a template."""
    # One whose drop was interrupted is no template any more, and cannot be altered.
    if connection.execute(_IS_TEMPLATE, [name]).fetchone():
        execute(connection, "ALTER DATABASE {} IS_TEMPLATE false", name)


def exists(connection: psycopg.Connection[Any], name: str) -> bool:
    """Tell whether there is a database of that name."""
    query = "SELECT 1 FROM pg_database WHERE datname = %s"
    return connection.execute(query, [name]).fetchone() is not None


def is_used(connection: psycopg.Connection[Any], name: str) -> bool:
    """Tell whether anybody is connected to a database."""
    return bool(connection.execute(_USERS, [name, []]).fetchall())


def drop_unused(
    connection: psycopg.Connection[Any],
    run_id: str,
    name: str,
    known: Collection[int],
    fixed_name: str = "",
) -> None:
    """Drop a database of this run that nobody uses, but for backends that may be ended.

    Args:
        connection: To the administrator's database.
        run_id: The run's id.
        name: The database's name.
        known: Process ids of the backends that may be ended.
        fixed_name: As for `drop`.

    Raises:
        NotOursError: The name is not one of this run's.
        IsolationError: Somebody else is connected, and does not leave.
    """
    require_ours(name, run_id, fixed_name)

    def users() -> list[tuple[int, str, str]]:
        return connection.execute(_USERS, [name, list(known)]).fetchall()

    try:
        wait_for(lambda: not users(), _BACKENDS_END_WITHIN / 2)
    except TimeoutError:
        raise _in_use(users()) from None
    drop(connection, run_id, name, fixed_name)


def drop_if_there(
    connection: psycopg.Connection[Any], run_id: str, name: str, fixed_name: str = ""
) -> None:
    """Drop the template or a worker's database where somebody has begun, and not come to an end."""
    if exists(connection, name):
        drop(connection, run_id, name, fixed_name)


def drop_all(server: Server, run_id: str) -> None:
    """Drop every database that the run has created on a server."""
    import psycopg

    with administration(server) as connection:
        names = of_run(connection, server, run_id)
        # The template last: it is what the next run would know this one by.
        for name in sorted(names, key=database_name(run_id, TEMPLATE).__eq__):
            with ignoring(psycopg.errors.InvalidCatalogName, why="another run was faster"):
                _drop_beside_others(connection, run_id, name)
        fixed_name = server.credentials.fixed
        if fixed_name:
            drop_if_there(connection, run_id, fixed_name, fixed_name)


def _drop_beside_others(connection: psycopg.Connection[Any], run_id: str, name: str) -> None:
    """Drop a database that the next run may be dropping, too: it takes this one for a dead one."""
    import psycopg

    def is_dropped() -> bool:
        drop(connection, run_id, name)
        return True

    # Another run has just begun to drop it: "tuple concurrently updated", "cannot alter invalid".
    begun = (psycopg.errors.InternalError_, psycopg.errors.ObjectNotInPrerequisiteState)
    wait_for(is_dropped, _BACKENDS_END_WITHIN, ignore=begun)


def require_ours(name: str, run_id: str, fixed_name: str = "") -> None:
    """Refuse to touch a database that this run has not created."""
    if name != fixed_name and not name.startswith(_prefix(run_id)):
        raise NotOursError(
            f"refused to delete data in the database {name!r}: it is not this run's.",
            why=f"databases of this run begin with {_prefix(run_id)!r}",
            remedy=f"berth_pg_allow_reset = {name}  # only if all its data may go",
        )


def _in_use(users: list[tuple[int, str, str]]) -> IsolationError:
    return IsolationError(
        "the database has to be made anew, and somebody else is connected to it.",
        why="\n".join(f"pid {pid}, application {name!r}, {state}" for pid, name, state in users),
        remedy=f"give the test that changed it a database of its own: {PRIVATE}\n"
        "or close that connection with the test; until then no test is given the database",
    )


def _end_backends(connection: psycopg.Connection[Any], name: str) -> None:
    def is_left() -> bool:
        return not connection.execute(_END_BACKENDS, [name]).fetchall()

    wait_for(is_left, _BACKENDS_END_WITHIN, message=f"the end of all connections to {name}")


def _prefix(run_id: str) -> str:
    return f"berth_{run_id}_"


def _let_go(connection: psycopg.Connection[Any], name: str) -> None:
    """Remove what holds a database that is to be dropped; only from inside of it one can."""
    from psycopg import sql

    if not connection.execute(_IS_HELD, {"name": name}).fetchall():
        return
    execute(connection, "ALTER DATABASE {} ALLOW_CONNECTIONS true", name)
    with connections.beside(connection, name) as inside:
        for (gid,) in inside.execute(_PREPARED).fetchall():
            inside.execute(sql.SQL("ROLLBACK PREPARED {}").format(sql.Literal(gid)))
        for (subscription,) in inside.execute(_SUBSCRIPTIONS).fetchall():
            # Without its slot, which another server has, and which need not be there.
            execute(inside, "ALTER SUBSCRIPTION {} DISABLE", subscription)
            execute(inside, "ALTER SUBSCRIPTION {} SET (slot_name = NONE)", subscription)
            execute(inside, "DROP SUBSCRIPTION {}", subscription)


def comment(connection: psycopg.Connection[Any], name: str, text: str) -> None:
    """Write down that a database is berth's, for berth itself and for people."""
    from psycopg import sql

    statement = sql.SQL("COMMENT ON DATABASE {} IS {}")
    connection.execute(statement.format(sql.Identifier(name), sql.Literal(f"{MARK}: {text}")))


def set_password(connection: psycopg.Connection[Any], user: str, password: str) -> None:
    """Give a role another password, sent as what PostgreSQL keeps of it."""
    from psycopg import sql

    kept_of_it = connection.pgconn.encrypt_password(password.encode(), user.encode(), None)
    statement = sql.SQL("ALTER ROLE {} PASSWORD {}")
    connection.execute(statement.format(sql.Identifier(user), sql.Literal(kept_of_it.decode())))


def execute(connection: psycopg.Connection[Any], statement: str, *names: str) -> None:
    """Execute a statement with names in place of its braces."""
    from psycopg import sql

    connection.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
