"""What was written is told exactly: by the oplog, and by counts of commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_berth.services.mongodb import clients
from pytest_berth.services.mongodb.fixture_layers import DatabaseLayers
from pytest_berth.services.mongodb.restore import DatabaseState
from pytest_berth.services.mongodb.watch import CommandCounts, Oplog, Unwatched, Watch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from pymongo.database import Database

    from pytest_berth.api import Server
    from pytest_berth.services.mongodb.clients import Client

NAME = "berth_run_gw0"
SEEDS = [{"_id": number, "text": "seed"} for number in range(3)]


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    """Berth's own client; FerretDB writes an oplog as soon as the collection is there."""
    with clients.closing(clients.berths_own(server)) as opened:
        yield opened


def _seeded(client: Client) -> Database[dict[str, Any]]:
    client[NAME].notes.insert_many(SEEDS)
    return client[NAME]


def _oplog(client: Client) -> Oplog:
    if "oplog.rs" not in client.local.list_collection_names():
        client.local.create_collection("oplog.rs", capped=True, size=1_000_000)
    client.elsewhere.notes.insert_one({})
    return Oplog(client, NAME)


def _watch(kind: str, client: Client) -> Watch:
    if kind == "oplog":
        return _oplog(client)
    return CommandCounts(client) if kind == "counts" else Unwatched()


@pytest.mark.parametrize("kind", ["oplog", "counts", "nothing"])
def test_each_way_documents_are_put_back(client: Client, kind: str) -> None:
    """By the oplog only what it names is read and written; the state is the same by all."""
    database, notes = _seeded(client), client[NAME].notes
    layers = DatabaseLayers(DatabaseState(client, NAME, _watch(kind, client)))
    deeds = [
        lambda: None,
        lambda: notes.insert_one({"_id": "new"}),
        lambda: notes.update_one({"_id": 1}, {"$set": {"text": "changed"}}),
        lambda: (notes.insert_one({"_id": 9}), notes.delete_one({"_id": 9})),
        lambda: notes.delete_one({"_id": 0}),
        lambda: notes.replace_one({"_id": 2}, {}),
        lambda: database.other.insert_one({}),
    ]
    for deed in deeds:
        layers.begin()
        deed()
        layers.end()
        assert list(notes.find()) == SEEDS
        assert list(database.other.find()) == []


def test_the_oplog_names_what_was_written_and_by_whom(client: Client) -> None:
    """Of this database only, and without what berth itself has written."""
    database = _seeded(client)
    watch = _oplog(client)
    assert not watch.since()
    client.elsewhere.notes.insert_one({})
    assert not watch.since()
    database.notes.insert_one({"_id": 7})
    database.notes.update_one({"_id": 1}, {"$set": {"text": "changed"}})
    (entries,) = watch.since().writes.values()
    assert [each.operation for each in entries] == ["i", "u"]
    watch.wrote("insert", [entries[0]._replace(key=b"\x10_id\x00\x08\x00\x00\x00")])
    database.notes.insert_one({"_id": 8})
    assert not watch.since()
    assert not watch.since()


def test_an_oplog_that_was_overwritten_tells_that_anything_may_have_changed(
    client: Client,
) -> None:
    """The entry up to which it was read is gone."""
    watch = _oplog(client)
    client.local["oplog.rs"].drop()
    _seeded(client)
    assert watch.since().anything


def test_counts_tell_writes_and_definitions_apart(client: Client) -> None:
    """A read is neither; what berth itself has sent is none of both."""
    database, watch = _seeded(client), CommandCounts(client)
    assert list(database.notes.find())
    assert not watch.since()
    database.notes.insert_one({})
    changes = watch.since()
    assert changes.anything
    assert not changes.definitions
    database.notes.create_index("text")
    assert watch.since().definitions
    watch.wrote("insert")
    database.notes.insert_one({})
    assert not watch.since()
