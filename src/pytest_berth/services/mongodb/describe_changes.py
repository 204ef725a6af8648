"""What a test has changed in a database, and what is in the way of a document, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bson
from pymongo.errors import BulkWriteError, DuplicateKeyError, OperationFailure

from pytest_berth.shown_values import MASK, is_secret, shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pymongo.database import Database

    from pytest_berth.services.mongodb.contents import Collection

_MOST = 30
_DUPLICATE = 11000


def lines(before: Mapping[str, Collection], now: Mapping[str, Collection]) -> list[str]:
    """Return a line for each collection, index and document: ``+`` added, ``~``, ``-`` deleted."""
    told = [line for name in sorted({*before, *now}) for line in _of(name, before, now)]
    rest = len(told) - _MOST
    return [*told[:_MOST], f"... and {rest} more"] if rest > 0 else told


def in_the_way(database: Database[Any], error: BaseException) -> Sequence[str]:
    """Return the document that has the key which another one was to have; nothing else is known."""
    details = _duplicate(error)
    if details is None or not details.get("keyValue"):
        return ()
    # The server names the collection in its message only: "... collection: name.users index: ...".
    _, _, place = details.get("errmsg", "").partition(f"collection: {database.name}.")
    name = place.partition(" index:")[0]
    found = database[name].find_one(details["keyValue"]) if name else None
    return [f"{name} has it: {shown_document(found)}"] if found else ()


def _duplicate(error: BaseException) -> Mapping[str, Any] | None:
    if isinstance(error, BulkWriteError):
        errors: list[Mapping[str, Any]] = (error.details or {}).get("writeErrors", [])
        return next((each for each in errors if each.get("code") == _DUPLICATE), None)
    if isinstance(error, DuplicateKeyError):
        return error.details
    if isinstance(error, OperationFailure) and error.code == _DUPLICATE:
        return error.details
    return None


def _of(
    name: str, before: Mapping[str, Collection], now: Mapping[str, Collection]
) -> Iterator[str]:
    was, found = before.get(name), now.get(name)
    if found is None:
        yield f"- {name}: the {before[name].kind} was dropped"
        return
    if was and was.definition != found.definition:
        yield f"~ {name}: the {found.kind} has other options"
    indexes, made = was.indexes if was else {}, found.indexes
    if was:
        yield from (f"+ {name}: index {each}" for each in made if each not in indexes)
        yield from (f"- {name}: index {each}" for each in indexes if each not in made)
    there = was.documents if was else {}
    for key, document in found.documents.items():
        if there.get(key) != document:
            yield f"{'~' if key in there else '+'} {name}: {shown_document(bson.decode(document))}"
    for key in there:
        if key not in found.documents:
            yield f"- {name}: {shown_document(bson.decode(there[key]))}"
    if was is None and not found.documents:
        yield f"+ {name}: an empty {found.kind}"


def shown_document(document: Mapping[str, Any]) -> str:
    """Return a document on one line, without the values of secrets."""
    return shown({name: MASK if is_secret(name) else value for name, value in document.items()})
