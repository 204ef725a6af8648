"""Transactions that a test has left open: they hold locks, and could be committed later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo.errors import OperationFailure

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.services.mongodb.clients import Client

_UNAUTHORIZED = 13


def left_open(client: Client, database: str, *, is_alone: bool) -> list[Mapping[str, Any]]:
    """Return the operations of the server that are transactions of a worker's.

    Args:
        client: Berth's own.
        database: What the worker's connections are named after.
        is_alone: Whether nobody else uses the server; then all connections are the worker's.
    """
    match: dict[str, Any] = {"transaction": {"$exists": True}, "lsid": {"$exists": True}}
    if not is_alone:
        match["appName"] = database
    try:
        return _current(client, match, {"allUsers": True, "idleSessions": True})
    except OperationFailure as error:
        if error.code != _UNAUTHORIZED:
            raise
        return _current(client, match, {"idleSessions": True})


def end(client: Client, transactions: list[Mapping[str, Any]]) -> None:
    """Roll transactions back."""
    sessions = [each["lsid"] for each in transactions]
    patterns = [{"lsid": {"id": each["id"], "uid": each["uid"]}} for each in sessions]
    try:
        client.admin.command("killAllSessionsByPattern", patterns)
    except OperationFailure as error:
        if error.code != _UNAUTHORIZED:
            raise
        client.admin.command("killSessions", [{"id": each["id"]} for each in sessions])


def described(transaction: Mapping[str, Any]) -> str:
    """Return a line for people."""
    opened = transaction["transaction"].get("timeOpenMicros", 0) / 1_000_000
    return (
        f"a transaction, open for {opened:.1f} s, by {transaction.get('appName') or 'a client'}"
        f" at {transaction.get('client', 'an unknown address')}"
    )


def _current(
    client: Client, match: dict[str, Any], options: dict[str, bool]
) -> list[Mapping[str, Any]]:
    return list(client.admin.aggregate([{"$currentOp": options}, {"$match": match}]))
