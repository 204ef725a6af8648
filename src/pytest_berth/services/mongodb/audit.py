"""What tests can break in a worker's database, for ``--berth-audit``."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import bson

from pytest_berth.services.mongodb.describe_changes import shown_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.services.mongodb.contents import Collection

# More documents than this are compared as a whole.
_MOST = 10_000


def texts(contents: Mapping[str, Collection]) -> dict[str, str | None]:
    """Return collections, their indexes and documents as texts by name."""
    found: dict[str, str | None] = {}
    for name, collection in contents.items():
        lines = [f"{len(collection.documents)} documents"]
        if len(collection.documents) > _MOST:
            lines.append(f"all of them\t{_digest(collection.data)}")
        else:
            lines += [_line(each) for each in collection.documents.values()]
        found[f"{collection.kind} {name}"] = "\n".join(lines)
        found[f"options of {name}"] = _line(collection.options)
        found |= {
            f"index {name}.{index}": _line(made) for index, made in collection.indexes.items()
        }
    return found


def _line(document: bytes) -> str:
    """Return a document for people, and after a tab what it is compared by."""
    return f"{shown_document(bson.decode(document))}\t{_digest(document)}"


def _digest(data: bytes) -> str:
    return sha256(data).hexdigest()[:16]
