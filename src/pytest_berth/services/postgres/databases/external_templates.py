"""What runs on one external server have in common: templates, and clearing up behind the dead.

Runs whose schema and seeds have the same fingerprint share a template while any of them lives: CI
shards that start together build it once. Each copies it and works in copies of the copy.

What a dead run has left is removed by the next one. Only what bears berth's comment is looked at,
and only what nobody holds a lock of, and nobody is connected to, is dropped. Age says nothing.
"""

from __future__ import annotations

import platform
import re
from typing import TYPE_CHECKING, Any

from pytest_berth.debug_log import debug
from pytest_berth.services.postgres.databases import (
    kept_databases,
    run_databases,
    template_name,
)
from pytest_berth.services.postgres.server import advisory_locks, session_pooling
from pytest_berth.waiting import wall_clock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import psycopg

    from pytest_berth.api import Server
    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.services.postgres.schema import Step

_OF_RUN = r"berth_(?P<run>[0-9a-f]{8})_(?P<part>.+)"
_MARKED = """
SELECT datname FROM pg_catalog.pg_database
WHERE pg_catalog.starts_with(datname, 'berth_')
AND pg_catalog.shobj_description(oid, 'pg_database') LIKE ANY (%s)
AND pg_catalog.pg_has_role(datdba, 'MEMBER')
"""
# Only these have locks that tell of their lives: not what a server that berth has started holds.
_SHARED = "the template that runs with the same schema and seeds share"
_RUNS = "databases of the run"
_GUARDED = [f"{run_databases.MARK}: {kind}%" for kind in (_SHARED, _RUNS)]
_STATE = f"""
SELECT datistemplate, {run_databases.IS_IN_THE_MAKING} OR coalesce(
  pg_catalog.starts_with(pg_catalog.shobj_description(oid, 'pg_database'), %s), false)
FROM pg_catalog.pg_database WHERE datname = %s
"""
_IN_USE = f"""
SELECT EXISTS (
  SELECT FROM pg_catalog.pg_stat_activity WHERE datname = ANY (%s) AND {run_databases.CLIENTS}
)
"""


def obtain(
    berth: PluginState, server: Server, steps: tuple[Step, ...], fill: Callable[[str], None]
) -> str | None:
    """Return the shared template for schema and seeds, built if no run has built it yet.

    It is kept for others as long as this process lives.

    Args:
        berth: The run.
        server: An external server.
        steps: Schema and seeds.
        fill: Applies these to a database.

    Returns:
        None where nothing can be shared: what the steps depend on is not known, or a pooler is
        between, whose sessions are not ours.

    Raises:
        SchemaError: A step failed.
    """
    session = advisory_locks.keep(berth, server)
    name = template_name.of(berth, server, steps)
    if not steps or name is None or session_pooling.is_pooled(session):
        return None
    fingerprint = template_name.fingerprint_in(name)
    used = advisory_locks.Lock(advisory_locks.TEMPLATE, fingerprint)
    waiting = "postgres: another run builds the template for the same schema; waiting for it"
    with advisory_locks.Lock(advisory_locks.BUILDING, fingerprint).alone(
        session, lambda: berth.progress.note(waiting)
    ):
        used.share(session)
        if _is_complete(session, name):
            return name
        complete = False
        try:
            run_databases.create_marked(session, name, run_databases.EMPTY, _SHARED)
            fill(name)
            # Modules that are imported meanwhile may add tables.
            complete = template_name.of(berth, server, steps) == name
            if complete:
                run_databases.seal(session, name)
        finally:
            if not complete:
                used.unshare(session)
                _drop_what_is_left(session, name)
    return name if complete else None


def mark_run(
    berth: PluginState, server: Server, connection: psycopg.Connection[Any], name: str
) -> None:
    """Let the next run remove this run's databases, if it is dead then: see `sweep`."""
    if not session_pooling.is_pooled(advisory_locks.keep(berth, server)):
        where = f"{berth.settings.root} on {platform.node()}"
        run_databases.comment(connection, name, f"{_RUNS} {berth.run.id} of {where}")


def sweep(server: Server) -> None:
    """Drop what dead runs have left, and templates that no run uses any more."""
    with advisory_locks.session(server) as connection:
        if session_pooling.is_pooled(connection):
            return
        kept_databases.drop_over(connection, wall_clock())
        for (name,) in connection.execute(_MARKED, [_GUARDED]).fetchall():
            fingerprint = template_name.fingerprint_in(name)
            of_run = re.fullmatch(_OF_RUN, name)
            if fingerprint:
                _drop_unused_template(connection, name, fingerprint)
            elif of_run:
                _drop_dead_run(connection, server, of_run["run"])


def _drop_unused_template(connection: psycopg.Connection[Any], name: str, fingerprint: str) -> None:
    building, used = (
        advisory_locks.Lock(advisory_locks.BUILDING, fingerprint),
        advisory_locks.Lock(advisory_locks.TEMPLATE, fingerprint),
    )
    with building.if_not_alone(connection) as not_built, used.if_not_shared(connection) as unused:
        if not_built and unused:
            _drop(connection, [name])


def _drop_dead_run(connection: psycopg.Connection[Any], server: Server, run_id: str) -> None:
    with advisory_locks.Lock(advisory_locks.RUN, run_id).if_not_shared(connection) as is_dead:
        if is_dead:
            # The template last: without its mark the others would not be known as berth's.
            template = run_databases.database_name(run_id, run_databases.TEMPLATE)
            names = run_databases.of_run(connection, server, run_id)
            _drop(connection, sorted(names, key=template.__eq__))


def _drop(connection: psycopg.Connection[Any], names: Sequence[str]) -> None:
    """Drop databases, unless anybody is connected to one of them."""
    import psycopg

    if connection.execute(_IN_USE, [list(names)]).fetchone() == (True,):
        return
    for name in names:
        try:
            run_databases.unseal(connection, name)
            run_databases.execute(connection, "DROP DATABASE {}", name)
        except psycopg.errors.InvalidCatalogName as error:
            debug("another run was faster: %s", error)
        except (
            psycopg.errors.InternalError_,
            psycopg.errors.ObjectNotInPrerequisiteState,
        ) as error:
            # "tuple concurrently updated", "cannot alter invalid"
            debug("another run is at it: %s", error)
        except (psycopg.errors.ObjectInUse, psycopg.errors.InsufficientPrivilege) as error:
            debug("%s is in use after all, or somebody else's: %s", name, error)
            return


def _is_complete(connection: psycopg.Connection[Any], name: str) -> bool:
    """Tell whether a template is complete; drop what a builder has left that died."""
    if connection.execute(_STATE.encode(), [run_databases.MARK, name]).fetchone() == (True, True):
        return True
    _drop_what_is_left(connection, name)
    return False


def _drop_what_is_left(connection: psycopg.Connection[Any], name: str) -> None:
    """Drop a template that nobody can have completed; who calls this holds the builders' lock."""
    if connection.execute(_STATE.encode(), [run_databases.MARK, name]).fetchone() == (False, True):
        run_databases.execute(connection, "DROP DATABASE {} WITH (FORCE)", name)
