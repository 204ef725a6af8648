"""The clean slate: a database is put back as it was, by as little as can be.

Documents that came are deleted, those that changed are replaced in their place. Where one was
deleted that had been there, or the order is another one, all documents are deleted and inserted
anew, in their order. Collections and indexes that came are dropped, and those that went are made
with the options that they had. So are other databases dropped, where nobody else uses the server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import bson
from bson.raw_bson import RawBSONDocument
from pymongo.errors import OperationFailure

from pytest_berth.debug_log import debug
from pytest_berth.errors import NotRestoredError
from pytest_berth.services.mongodb.contents import (
    CODEC,
    complete,
    read_all,
    read_data,
    read_definitions,
    with_id,
)
from pytest_berth.services.mongodb.watch import (
    DELETE,
    EVERYTHING,
    INSERT,
    SERVERS_OWN,
    UPDATE,
    Changes,
    Entry,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_berth.services.mongodb.clients import Client
    from pytest_berth.services.mongodb.contents import Collection
    from pytest_berth.services.mongodb.watch import Watch

# A command's documents may have 48 MB together.
_AT_ONCE, _MOST_BYTES = 10_000, 8_000_000
_ANSWERS_WITHIN = 15_000  # milliseconds


class Plan(NamedTuple):
    """What puts a collection's documents back.

    Attributes:
        deleted: Ids of those that came.
        replaced: What those were that changed, by their ids.
        is_emptied: Whether all that are there are to be deleted first, ids being those.
        inserted: Those to be inserted then.
    """

    deleted: Sequence[bytes] = ()
    replaced: Mapping[bytes, bytes] = {}
    is_emptied: bool = False
    inserted: Mapping[bytes, bytes] = {}


class DatabaseState:
    """A database as berth has read it, or put it back, last.

    Args:
        client: Berth's own.
        name: The database.
        watch: What tells what was written to it.
        is_alone: Whether nobody else uses the server, and so other databases are tests', too.
    """

    def __init__(self, client: Client, name: str, watch: Watch, *, is_alone: bool = False) -> None:
        self._client = client
        self._database = client[name]
        self._watch = watch
        self._is_alone = is_alone
        self._others = self._other_databases()
        self._is_known = False
        self._known: Mapping[str, Collection] = {}
        self.dirty: set[str] = set()

    def go_on(self, watch: Watch) -> None:
        """Go on with a new server, of which nothing is known yet."""
        self._watch, self._is_known = watch, False
        self._others = self._other_databases()

    def look(self) -> Mapping[str, Collection]:
        """Return what the database holds; the same object as long as that has not changed."""
        changes = self._changes()
        if changes.elsewhere:
            self._others = self._other_databases()
        if changes:
            self._is_known = False
            self._read(changes)
        return self._known

    def put_back(self, before: Mapping[str, Collection]) -> None:
        """Make the database hold what it held before, and nothing else.

        Raises:
            NotRestoredError: The server does not let it.
        """
        changes = self._changes()
        if changes.elsewhere:
            self._drop_others()
        if not changes and (before is self._known or before == self._known):
            return
        self._is_known = False
        try:
            plans = self._by_writes(changes) if before is self._known else None
            if plans is None:
                self._make(self._read(changes), before)
            else:
                for name, plan in plans.items():
                    self._put_back_documents(name, before[name], plan)
        except OperationFailure as error:
            raise not_restored(self._database.name, error) from error
        self._known, self._is_known = before, True

    def _changes(self) -> Changes:
        changes = self._watch.since()
        return changes if self._is_known else EVERYTHING

    def _other_databases(self) -> set[str]:
        """Return the databases that tests may have made besides their own."""
        if not self._is_alone:
            return set()
        return {*self._client.list_database_names()} - {self._database.name, *SERVERS_OWN}

    def _drop_others(self) -> None:
        """Drop the databases that were not there before."""
        for name in self._other_databases() - self._others:
            self.dirty.add(f"{name} (a database)")
            self._watch.wrote("dropDatabase")
            self._client[name].command("dropDatabase", maxTimeMS=_ANSWERS_WITHIN)

    def _read(self, changes: Changes) -> Mapping[str, Collection]:
        """Read what may have changed."""
        known, database = self._known, self._database
        if changes.definitions and changes.anything:
            found = read_all(database)
        else:
            found = {}
            for name, collection in self._definitions(changes).items():
                was = known.get(name)
                is_same = was is not None and was.definition == collection.definition
                indexes = was.indexes if was and is_same and not changes.definitions else None
                is_written = changes.anything or name in changes.writes
                data = was.data if was and is_same and not is_written else None
                found[name] = complete(database, name, collection, indexes, data)
        if found != known:
            self._known = found
        self._is_known = True
        return self._known

    def _definitions(self, changes: Changes) -> Mapping[str, Collection]:
        """Return the collections that there are: a write makes the one that is not there."""
        is_told = not changes.definitions and not changes.anything
        if is_told and self._known.keys() >= changes.writes.keys():
            return self._known
        return read_definitions(self._database)

    def _by_writes(self, changes: Changes) -> Mapping[str, Plan] | None:
        """Return what puts back what the oplog names; None where more has to be looked at."""
        if changes.definitions or changes.anything:
            return None
        plans = {}
        for name, writes in changes.writes.items():
            collection = self._known.get(name)
            if collection is None or collection.is_append_only:
                return None
            was = collection.documents
            if any(each.key in was and each.operation != UPDATE for each in writes):
                return None
            keys = dict.fromkeys(each.key for each in writes)
            plans[name] = Plan(
                [key for key in keys if key not in was],
                {key: was[key] for key in keys if key in was},
            )
        return plans

    def _make(self, now: Mapping[str, Collection], before: Mapping[str, Collection]) -> None:
        """Turn what there is into what there was."""
        there = dict(now)
        for name, collection in now.items():
            if name not in before or _is_made_anew(collection, before[name]):
                self.dirty.add(name)
                self._run({"drop": name})
                del there[name]
        for name in sorted(before, key=lambda name: before[name].kind == "view"):
            if there.get(name) != before[name]:
                self._make_one(name, there.get(name), before[name])

    def _make_one(self, name: str, now: Collection | None, before: Collection) -> None:
        self.dirty.add(name)
        if now is None:
            self._run({"create": name, **bson.decode(before.options)})
            now = type(before)(*before.definition)
        if before.kind == "view":
            return
        strange = [
            index for index, made in now.indexes.items() if before.indexes.get(index) != made
        ]
        for index in strange:
            self._run({"dropIndexes": name, "index": index})
        self._put_back_documents(name, before, plan(now, before))
        missing = [
            RawBSONDocument(made, CODEC)
            for index, made in before.indexes.items()
            if now.indexes.get(index) != made
        ]
        if missing:
            self._run({"createIndexes": name, "indexes": missing})

    def _put_back_documents(self, name: str, before: Collection, plan: Plan) -> None:
        if plan == Plan():
            return
        self.dirty.add(name)
        try:
            self._carry_out(name, plan)
        except OperationFailure as error:
            if plan.is_emptied:
                raise
            # For instance, two have exchanged what is unique.
            debug("mongodb: %s is written anew: %s", name, error)
            there = type(before)(*before.definition, data=read_data(self._database, name))
            self._carry_out(name, Plan([*there.documents], {}, True, before.documents))

    def _carry_out(self, name: str, plan: Plan) -> None:
        if plan.is_emptied:
            deletes: list[dict[str, Any]] = [{"q": {}, "limit": 0}]
            self._run({"delete": name, "deletes": deletes}, _entries(name, DELETE, plan.deleted))
        else:
            for keys in _in_parts(plan.deleted):
                # One by one, ids are looked up also by servers that scan for several.
                deletes = [{"q": with_id(key), "limit": 1} for key in keys]
                self._run({"delete": name, "deletes": deletes}, _entries(name, DELETE, keys))
        for part in _in_parts_of(plan.replaced):
            updates = [
                {"q": with_id(key), "u": RawBSONDocument(document, CODEC), "upsert": True}
                for key, document in part
            ]
            keys = [key for key, _ in part]
            self._run({"update": name, "updates": updates}, _entries(name, UPDATE, keys))
        for part in _in_parts_of(plan.inserted):
            documents = [RawBSONDocument(document, CODEC) for _, document in part]
            keys = [key for key, _ in part]
            self._run({"insert": name, "documents": documents}, _entries(name, INSERT, keys))

    def _run(self, command: dict[str, Any], entries: Iterable[Entry] = ()) -> None:
        """Send a command, whatever a validator of the collection may say to the documents.

        Raises:
            OperationFailure: It, or one of the documents, has failed.
        """
        kind = next(iter(command))
        if kind in {"insert", "update"}:
            command["bypassDocumentValidation"] = True
        self._watch.wrote(kind, entries)
        # By itself, a set waits until its majority has the write in its journal.
        options = {"maxTimeMS": _ANSWERS_WITHIN, "writeConcern": {"w": 1}}
        answer = self._database.command({**command, **options})
        for error in answer.get("writeErrors", ()):
            raise OperationFailure(error["errmsg"], error["code"], error)


def plan(now: Collection, before: Collection) -> Plan:
    """Return what turns the documents that are there into those that were."""
    if now.data == before.data:
        return Plan()
    was, there = before.documents, now.documents
    ids = list(there)
    if not was or before.is_append_only or ids[: len(was)] != list(was):
        return Plan(ids, {}, bool(ids), was)
    changed = {key: document for key, document in was.items() if there[key] != document}
    return Plan(ids[len(was) :], changed)


def not_restored(database: str, error: OperationFailure) -> NotRestoredError:
    """Return the error that a database cannot be put back."""
    return NotRestoredError(
        f"the database {database} cannot be put back as it was before the test.",
        why=" ".join(str(error).split(", full error:")[0].split()),
        remedy="where a transaction of the application's is open, end it in the test; later tests"
        " get another server where berth has started this one",
    )


def _is_made_anew(now: Collection, before: Collection) -> bool:
    return now.definition != before.definition or (
        before.is_append_only and now.data != before.data
    )


def _entries(name: str, operation: str, keys: Iterable[bytes]) -> Iterator[Entry]:
    return (Entry(name, operation, key) for key in keys)


def _in_parts(keys: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    return (keys[at : at + _AT_ONCE] for at in range(0, len(keys), _AT_ONCE))


def _in_parts_of(documents: Mapping[bytes, bytes]) -> Iterator[list[tuple[bytes, bytes]]]:
    """Yield documents in parts that one command takes."""
    part: list[tuple[bytes, bytes]] = []
    size = 0
    for key, document in documents.items():
        if part and (size + len(document) > _MOST_BYTES or len(part) == _AT_ONCE):
            yield part
            part, size = [], 0
        part.append((key, document))
        size += len(document)
    if part:
        yield part
