"""What was written to a database since the last look, told in one round trip.

A replica set has the oplog, which names each document: it is exact, and other workers' writes do
not matter. FerretDB 1 counts the commands that it has carried out: where nobody has sent one that
writes, nothing can have changed. Of any other server nothing is known, and everything is read.
What berth itself writes to put a database back is told to the watch, so that it is not taken for
somebody else's.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from pymongo.errors import OperationFailure

from pytest_berth.debug_log import debug
from pytest_berth.services.mongodb.contents import id_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from bson.timestamp import Timestamp

    from pytest_berth.services.mongodb.clients import Client

INSERT, UPDATE, DELETE, COMMAND, NOTHING = "i", "u", "d", "c", "n"
# Of an entry of the oplog, or of one within a transaction's.
_FIELDS = ("op", "ns", "o._id", "o2._id")
_PROJECTION = dict.fromkeys(("ts", *_FIELDS, *(f"o.applyOps.{field}" for field in _FIELDS)), 1)
_BUCKETS = "system.buckets."  # of time series


class Entry(NamedTuple):
    """A write to one document: the collection, what was done, and the document's id."""

    collection: str
    operation: str
    key: bytes


class Changes(NamedTuple):
    """What has been written.

    Attributes:
        writes: What is known of documents, by their collections.
        definitions: Whether collections or indexes may have been made, changed or dropped.
        anything: Whether any document may have changed.
        elsewhere: Whether other databases may have been written to; told where nobody else does.
    """

    writes: Mapping[str, list[Entry]]
    definitions: bool = False
    anything: bool = False
    elsewhere: bool = False

    def __bool__(self) -> bool:
        """Tell whether there are any in the database itself."""
        return bool(self.writes) or self.definitions or self.anything


SERVERS_OWN = {"admin", "config", "local", ""}
EVERYTHING = Changes({}, definitions=True, anything=True, elsewhere=True)


class Watch(Protocol):
    """Something that tells changes."""

    def since(self) -> Changes:
        """Return what has been written since the last call, but for what was told by `wrote`."""

    def wrote(self, command: str, entries: Iterable[Entry] = ()) -> None:
        """Note that berth sends a command, and the documents that it writes."""


class Unwatched:
    """Of a server that tells nothing: everything may have changed."""

    def since(self) -> Changes:
        """Return that everything may have changed."""
        return EVERYTHING

    def wrote(self, command: str, entries: Iterable[Entry] = ()) -> None:
        """Note nothing."""


class CommandCounts:
    """The commands that FerretDB 1 has carried out: it counts them before it answers."""

    # The others write, or may.
    _READ: ClassVar = {
        *("aggregate", "buildInfo", "buildinfo", "collStats", "connectionStatus"),
        *("count", "currentOp", "dataSize", "dbStats", "dbstats", "distinct"),
        *("endSessions", "explain", "find", "getCmdLineOpts", "getLog", "getMore"),
        *("getParameter", "hello", "hostInfo", "isMaster", "ismaster", "killCursors"),
        *("listCollections", "listCommands", "listDatabases", "listIndexes", "logout"),
        *("ping", "saslContinue", "saslStart", "serverStatus", "usersInfo", "validate"),
        "whatsmyuri",
    }
    _WRITE_DOCUMENTS: ClassVar = {"insert", "update", "delete", "findAndModify", "findandmodify"}

    def __init__(self, client: Client) -> None:
        self._client = client
        self._own: Counter[str] = Counter()
        self._last = self._counts()

    def since(self) -> Changes:
        """Return whether anybody has sent what writes, or makes and drops collections."""
        counts, expected = self._counts(), self._last + self._own
        self._last, self._own = counts, Counter()
        moved = {name for name in counts | expected if counts[name] != expected[name]}
        return Changes({}, bool(moved - self._WRITE_DOCUMENTS), bool(moved), bool(moved))

    def wrote(self, command: str, entries: Iterable[Entry] = ()) -> None:
        """Count a command of berth's own."""
        self._own[command] += 1

    def _counts(self) -> Counter[str]:
        commands = self._client.admin.command("serverStatus")["metrics"]["commands"]
        return Counter(
            {name: told["total"] for name, told in commands.items() if name not in self._READ}
        )


class Oplog:
    """The oplog of a replica set: each write to each document, and each command that makes others.

    The place up to which it was read is the time that the server told with the answer before the
    last: all that was written by then had been seen. From there on others' entries are passed over
    by the server, unless nobody else uses it. The entry at that place must be there still, else the
    oplog has been overwritten.
    """

    def __init__(self, client: Client, database: str, *, is_alone: bool = False) -> None:
        self._oplog = client.local["oplog.rs"]
        self._session = client.start_session(causal_consistency=False)
        self._database = database
        within = {"$regex": f"^{re.escape(database)}\\."}
        self._concerns: list[Any] = [{"ns": within}, {"o.applyOps.ns": within}]
        if is_alone:
            self._concerns = [{}]
        self._own: Counter[Entry] = Counter()
        newest = self._oplog.find_one(
            sort=[("$natural", -1)], projection={"ts": 1}, session=self._session
        )
        if newest is None:
            raise LookupError("the oplog is empty")
        self._place: Timestamp = newest["ts"]

    def since(self) -> Changes:
        """Return what the oplog tells of the database."""
        own, self._own = self._own, Counter()
        reached = self._session.operation_time
        found = self._oplog.find(
            {"ts": {"$gte": self._place}, "$or": [{"ts": self._place}, *self._concerns]},
            _PROJECTION,
            session=self._session,
        )
        entries = list(found)
        if not entries or entries[0]["ts"] != self._place:
            self._place = reached or (entries[-1]["ts"] if entries else self._place)
            return EVERYTHING
        self._place = max(self._place, reached) if reached else entries[-1]["ts"]
        return changes(entries[1:], self._database, own)

    def wrote(self, command: str, entries: Iterable[Entry] = ()) -> None:
        """Note the documents that berth writes; each is told by one entry at most."""
        self._own.update(entries)


def changes(
    entries: Iterable[Mapping[str, Any]], database: str, own: Counter[Entry] | None = None
) -> Changes:
    """Return what entries of the oplog tell of a database.

    Args:
        entries: Those of transactions hold others.
        database: Its name.
        own: What berth has written itself; what is met of it is taken out.
    """
    own = Counter() if own is None else own
    writes: dict[str, list[Entry]] = {}
    definitions = elsewhere = False
    for entry in _single(entries):
        place, _, collection = entry.get("ns", "").partition(".")
        operation = entry["op"]
        elsewhere |= place not in {database, *SERVERS_OWN}
        if place != database or operation == NOTHING:
            continue
        if operation not in {INSERT, UPDATE, DELETE}:
            definitions = True
            continue
        told = entry["o2"] if operation == UPDATE else entry["o"]
        name = collection.removeprefix(_BUCKETS)
        found = Entry(name, operation, id_from(told.get("_id")))
        if own[found] > 0:
            own[found] -= 1
        else:
            writes.setdefault(name, []).append(found)
    return Changes(writes, definitions, elsewhere=elsewhere)


def _single(entries: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield entries, and those within transactions."""
    for entry in entries:
        inner = entry.get("o", {}).get("applyOps") if entry["op"] == COMMAND else None
        if inner is None:
            yield entry
        else:
            yield from _single(inner)


def best(client: Client, database: str, *, is_alone: bool = False) -> Watch:
    """Return what tells changes of a database most exactly on this server.

    Args:
        client: Berth's own.
        database: Its name.
        is_alone: Whether nobody else uses the server, so that other databases matter, too.
    """
    hello, about = client.admin.command("hello"), client.admin.command("buildInfo")
    try:
        if hello.get("setName"):
            return Oplog(client, database, is_alone=is_alone)
    except (LookupError, OperationFailure) as error:
        debug("mongodb: the oplog cannot be read: %s", error)
    try:
        if about.get("ferretdbVersion"):
            return CommandCounts(client)
    except OperationFailure as error:
        debug("mongodb: commands are not counted: %s", error)
    return Unwatched()
