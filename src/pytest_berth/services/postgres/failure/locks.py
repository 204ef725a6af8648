"""Explains a deadlock, or a lock that was not granted: who holds it, with what statement."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from pytest_berth.services.postgres.failure import asking
from pytest_berth.services.postgres.failure.asking import NoAnswerError
from pytest_berth.services.postgres.restore import open_transactions
from pytest_berth.services.postgres.server.connections import APPLICATION

if TYPE_CHECKING:
    from pytest_berth.services.postgres.databases.worker_database import IsolatedDatabase
    from pytest_berth.services.postgres.failure.asking import Asking
    from pytest_berth.services.postgres.failure.server_error import ServerError
    from pytest_berth.services.postgres.restore import OpenTransaction

_WAITS = re.compile(r"(\d+) waits for (\w+) on ([^;]+); blocked by process (\d+)")
_RELATION = re.compile(r"relation (\d+)")
_OF_CONTEXT = re.compile(r'relation "([^"]+)"')
_ACTIVITY = """
SELECT a.application_name, coalesce(a.state, '?'), a.query FROM pg_catalog.pg_stat_activity a
WHERE a.pid = {pid} AND a.datname = current_database()
"""
_TIMEOUT = """
SELECT setting || coalesce(unit, ''), source FROM pg_catalog.pg_settings WHERE name = {name}
"""
_ORDER = "two transactions lock the same rows in another order: let both lock them in the same one"
_REPEAT = "concurrent transactions have changed the same rows: such a transaction is to be repeated"
_FAILED = "idle in transaction (aborted)"


def of_deadlock(database: IsolatedDatabase, error: ServerError) -> list[str]:
    """Return who waited for whom, and what each of them did last."""
    waits = _WAITS.findall(error.detail)
    with asking.beside(database.server, database.active.database) as ask:
        told = []
        for number, (pid, mode, what, holder) in enumerate(waits):
            named = _RELATION.sub(lambda found: _name(ask, found[1]), what)
            who = f"pid {pid}" + (" (the failed statement)" if number == 0 else "")
            told.append(f"{who} waited for {mode} on {named}, held by pid {holder}")
        told += [_did(database, ask, int(pid)) for pid, *_ in waits]
        if error.context:
            told.append(error.context.splitlines()[0])
        return [*told, _ORDER]


def of_timeout(database: IsolatedDatabase, error: ServerError) -> list[str]:
    """Return who holds locks that a statement may have waited for."""
    name = database.active.database
    with asking.connected(database.server, name) as connection, asking.on(connection) as ask:
        try:
            found = open_transactions.open_transactions(connection)
        except psycopg.Error as problem:
            raise NoAnswerError(str(problem)) from problem
        text = f"{error.context} {error.statement}"
        told = [
            _holder(database, each)
            for each in found
            if each.application != APPLICATION and each.state != _FAILED and _may_hold(each, text)
        ]
        if error.context:
            told.append(error.context.splitlines()[0])
        if error.state == "40001":
            return [*told, _REPEAT]
        if "statement timeout" in error.message:
            told += _setting(ask, "statement_timeout")
        if "lock timeout" in error.message:
            told += _setting(ask, "lock_timeout")
        return told


def _may_hold(opened: OpenTransaction, text: str) -> bool:
    """Tell whether a transaction holds more than reading takes, on what the text names, if any."""
    strong = [lock.relation for lock in opened.locks if lock.mode != "AccessShareLock"]
    named = _OF_CONTEXT.findall(text) or re.findall(r"[\w$]+", text)
    return any(relation.rpartition(".")[2] in named or not text.strip() for relation in strong)


def _holder(database: IsolatedDatabase, opened: OpenTransaction) -> str:
    place = replace(opened, place=database.application.place(opened))
    own = (
        " (the test's own connection, which is rolled back)"
        if opened.pid == database.rolled_back_backend
        else ""
    )
    return f"may be in the way: {place}{own}"


def _did(database: IsolatedDatabase, ask: Asking, pid: int) -> str:
    found = ask(sql.SQL(_ACTIVITY).format(pid=sql.Literal(pid)))
    if not found:
        return f"pid {pid} has ended its connection"
    application, state, query = (each or "" for each in found[0])
    place = database.application.place_of(pid)
    opened = f"; opened at {place}" if place else ""
    said = open_transactions.redacted(query)
    return f"pid {pid}, application {application!r}, {state}; last statement: {said}{opened}"


def _name(ask: Asking, oid: str) -> str:
    found = ask(sql.SQL("SELECT {}::oid::regclass::text").format(sql.Literal(int(oid))))
    return f"relation {found[0][0]}"


def _setting(ask: Asking, name: str) -> list[str]:
    query = sql.SQL(_TIMEOUT).format(name=sql.Literal(name))
    ((setting, source),) = ask(query)
    if (setting or "").startswith("0") or source == "session":
        return [f"{name} was set by the application, in its own session"]
    return [f"{name} = {setting}, set by: {source}"]
