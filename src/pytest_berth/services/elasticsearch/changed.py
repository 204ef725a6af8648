"""What a test has changed, for the report of its failure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.services.elasticsearch.contents import DOCUMENT, INDEX

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_berth.services.elasticsearch.contents import Key


def lines(before: Mapping[Key, Any], now: Mapping[Key, Any]) -> list[str]:
    """Return a line for each thing that differs: indices first, then their documents."""
    return [*_of(before, now, documents=False), *_of(before, now, documents=True)]


def _of(before: Mapping[Key, Any], now: Mapping[Key, Any], *, documents: bool) -> Iterator[str]:
    for key in sorted(before.keys() | now.keys()):
        if (key[0] == DOCUMENT) != documents:
            continue
        if key not in before:
            yield f"+ {_described(key)}"
        elif key not in now:
            yield f"- {_described(key)}"
        elif before[key] != now[key]:
            yield f"~ {_described(key)}"


def _described(key: Key) -> str:
    kind, name, *id_ = key
    if kind == DOCUMENT:
        return f"document {id_[0]!r} in {name!r}"
    return f"{'index' if kind == INDEX else kind} {name!r}"
