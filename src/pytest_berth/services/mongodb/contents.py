"""What a database holds: definitions, indexes and documents of its collections, as BSON.

Documents stay the bytes that the server has sent, in its natural order: what has not changed is
told by comparing them, and they are only taken apart where something has.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

import bson
from bson.codec_options import CodecOptions, DatetimeConversion
from bson.raw_bson import RawBSONDocument

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pymongo.database import Database

CODEC = CodecOptions(
    document_class=RawBSONDocument, datetime_conversion=DatetimeConversion.DATETIME_MS
)
_SYSTEM = "system."
_ID_INDEX = "_id_"
_OBJECT_ID, _NAME_OF_ID = 7, b"_id\x00"


@dataclass(frozen=True)
class Collection:
    """A collection, or a view.

    Attributes:
        kind: ``collection``, ``view`` or ``timeseries``.
        options: What it was created with, as BSON.
        indexes: What each of its further indexes was created with, as BSON, by name.
        data: The documents, one after the other; empty for views.
    """

    kind: str
    options: bytes
    indexes: Mapping[str, bytes] = field(default_factory=dict)
    data: bytes = field(default=b"", repr=False)

    @cached_property
    def documents(self) -> Mapping[bytes, bytes]:
        """The documents by their ids (`id_of`), in natural order; of time series by their place."""
        if self.kind == "timeseries":  # its documents need not have ids
            return {b"%d" % place: each for place, each in enumerate(split(self.data))}
        return {id_of(document): document for document in split(self.data)}

    @property
    def definition(self) -> tuple[str, bytes]:
        """What only a new collection can change."""
        return self.kind, self.options

    @property
    def is_append_only(self) -> bool:
        """Whether documents cannot be deleted, or replaced, as they can anywhere else."""
        return self.kind == "timeseries" or bool(bson.decode(self.options).get("capped"))


def read_definitions(database: Database[Any]) -> dict[str, Collection]:
    """Return all collections without documents and indexes."""
    return {
        each["name"]: Collection(each.get("type", "collection"), bson.encode(each["options"]))
        for each in database.list_collections()
        if not each["name"].startswith(_SYSTEM)
    }


def read_indexes(database: Database[Any], name: str) -> dict[str, bytes]:
    """Return the indexes of a collection that its creation has not made."""
    found = {}
    for index in database[name].list_indexes():
        # What the server adds: the collection, and the usual version, which FerretDB does not take.
        made = {key: value for key, value in index.items() if (key, value) != ("v", 2)}
        made.pop("ns", None)
        if index["name"] != _ID_INDEX and not index.get("clustered"):
            found[index["name"]] = bson.encode(made)
    return found


def read_data(database: Database[Any], name: str) -> bytes:
    """Return the documents of a collection in natural order."""
    return b"".join(cast("Iterator[bytes]", database[name].find_raw_batches()))


def read_all(database: Database[Any]) -> dict[str, Collection]:
    """Return all that a database holds."""
    return {
        name: complete(database, name, collection)
        for name, collection in read_definitions(database).items()
    }


def complete(
    database: Database[Any],
    name: str,
    collection: Collection,
    indexes: Mapping[str, bytes] | None = None,
    data: bytes | None = None,
) -> Collection:
    """Return a collection with its indexes and documents; what is not given is read."""
    if collection.kind == "view":
        return collection
    return Collection(
        collection.kind,
        collection.options,
        read_indexes(database, name) if indexes is None else indexes,
        read_data(database, name) if data is None else data,
    )


def split(data: bytes) -> Iterator[bytes]:
    """Yield documents that are written one after the other."""
    start = 0
    while start < len(data):
        (size,) = struct.unpack_from("<i", data, start)
        yield data[start : start + size]
        start += size


def id_of(document: bytes) -> bytes:
    """Return the id of a document: its type, its name and its value, as they are in BSON."""
    if document[4] == _OBJECT_ID and document[5:9] == _NAME_OF_ID:
        return document[4:21]
    return id_from(RawBSONDocument(document, CODEC).get("_id"))


def id_from(value: object) -> bytes:
    """Return the same of an id that was read from somewhere else."""
    return bson.encode({"_id": value}, codec_options=CODEC)[4:-1]


def with_id(key: bytes) -> RawBSONDocument:
    """Return the document that holds an id only, as a filter finds the one that has it."""
    return RawBSONDocument(struct.pack("<i", len(key) + 5) + key + b"\x00", CODEC)
