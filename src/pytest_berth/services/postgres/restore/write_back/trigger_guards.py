"""Switches off what refuses that rows are put back: triggers, rules, replica identities."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from psycopg import sql

from pytest_berth.services.postgres.restore import ddl_trigger, open_transactions
from pytest_berth.services.postgres.restore.lock_waits import run
from pytest_berth.services.postgres.restore.transactions import results

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pytest_berth.services.postgres.restore.baseline import Baseline
    from pytest_berth.services.postgres.restore.catalog import Guard, Relation
    from pytest_berth.services.postgres.restore.transactions import Connection

SWITCHED_ON = {
    "O": sql.SQL("ENABLE"),
    "A": sql.SQL("ENABLE ALWAYS"),
    "R": sql.SQL("ENABLE REPLICA"),
}
IDENTITIES = {"d": sql.SQL("REPLICA IDENTITY DEFAULT"), "n": sql.SQL("REPLICA IDENTITY NOTHING")}


@contextmanager
def off(connection: Connection, baseline: Baseline, tables: Sequence[Relation]) -> Iterator[None]:
    """Switch the guards of tables off, and on again as they were."""
    guarded = [table for table in tables if table.guards]
    for table in guarded:
        _alter(connection, table, [_off(guard) for guard in table.guards])
    yield
    if not guarded:
        return
    # ALTER TABLE is refused while checks of deferred constraints are pending.
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
    for table in guarded:
        _alter(connection, table, [_on(guard) for guard in table.guards])
    if baseline.watched:
        ((own,),) = results(connection, [baseline.prepared.run("xid")])[0]
        ddl_trigger.forget(connection, [own])


def _alter(connection: Connection, table: Relation, actions: Sequence[sql.Composable]) -> None:
    only = sql.SQL("ONLY " if table.kind == "p" else "")
    statement = sql.SQL("ALTER TABLE {}{} {}").format(
        only, table.identifier, sql.SQL(", ").join(actions)
    )
    run(connection, statement, [table], open_transactions.BLOCK_EXCLUSIVE - {"AccessShareLock"})


def _off(guard: Guard) -> sql.Composable:
    if guard.enabled in IDENTITIES:
        return sql.SQL("REPLICA IDENTITY FULL")
    return _switch(guard, sql.SQL("DISABLE"))


def _on(guard: Guard) -> sql.Composable:
    return IDENTITIES.get(guard.enabled) or _switch(guard, SWITCHED_ON[guard.enabled])


def _switch(guard: Guard, action: sql.SQL) -> sql.Composed:
    return sql.SQL("{} {} {}").format(action, sql.SQL(guard.kind), sql.Identifier(guard.name))
