"""Making a worker's part of a server hold what it held before, and nothing else."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from pytest_berth.errors import NotRestoredError
from pytest_berth.services.elasticsearch.contents import (
    DOCUMENT,
    INDEX,
    PATHS,
    Document,
    Index,
    chunks,
)
from pytest_berth.services.elasticsearch.rest import RequestRefusedError, joined

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_berth.services.elasticsearch.contents import Contents, Key
    from pytest_berth.services.elasticsearch.rest import Rest

# The application may be writing still.
_ATTEMPTS = 5
_DOCUMENTS_AT_ONCE = 2_000
_BLOCKS = ("index.blocks.read_only", "index.blocks.metadata")
_MOST_TOLD = 5


class _Write(NamedTuple):
    """What is to be written.

    Attributes:
        id: The document's id.
        document: The document; None where it is to be deleted.
        routing: What its shard is chosen by; empty for its id.
    """

    id: str
    document: Document | None
    routing: str


def restore(contents: Contents, baseline: Mapping[Key, Any]) -> list[str]:
    """Put everything back; return the names of what was changed.

    Raises:
        NotRestoredError: Something differs still, or the server refuses it.
    """
    changed: dict[str, None] = {}
    try:
        for attempt in range(_ATTEMPTS):
            # At first, which documents have changed is all that matters.
            contents.update(with_sources=attempt > 0)
            differing = _differing(contents.known, baseline)
            if not differing:
                return list(changed)
            changed |= dict.fromkeys(each[1] for each in differing)
            _put_back(contents, baseline, differing)
    except RequestRefusedError as error:
        contents.forget()
        raise _not_restored(str(error)) from error
    contents.forget()
    raise _not_restored(f"{_told(differing)} differs again and again")


def _differing(now: Mapping[Key, Any], baseline: Mapping[Key, Any]) -> list[Key]:
    if now == baseline:
        return []
    added = [key for key in now if key not in baseline]
    return [*added, *(key for key, value in baseline.items() if now.get(key) != value)]


def _put_back(contents: Contents, baseline: Mapping[Key, Any], differing: list[Key]) -> None:
    rest, now = contents.rest, contents.known
    beside = [key for key in differing if key[0] in PATHS]
    indices = [key[1] for key in differing if key[0] == INDEX]
    # An index template can be deleted when nothing is made by it, and a component when no template
    # names it: data streams go first, then indices, templates, components.
    for key in sorted(beside, key=_order):
        if key not in baseline:
            rest.delete(f"/{PATHS[key[0]]}/{quote(key[1], safe='')}")
    _delete_indices(rest, [n for n in indices if (INDEX, n) in now and _is_anew(n, now, baseline)])
    for key in sorted(beside, key=_order, reverse=True):
        if key in baseline:
            _write_beside(rest, key, baseline[key])
    made = set()
    for name in indices:
        if (INDEX, name) in baseline:
            if _is_anew(name, now, baseline):
                _make_index(rest, name, baseline[INDEX, name])
                made.add(name)
            else:
                _put_aliases_back(rest, name, now[INDEX, name], baseline[INDEX, name])
    _write_documents(contents, _writes(now, baseline, differing, made))


def _order(key: Key) -> int:
    return list(PATHS).index(key[0]) if key[0] != "data stream" else -1


def _is_anew(name: str, now: Mapping[Key, Any], baseline: Mapping[Key, Any]) -> bool:
    """Tell whether an index is to be deleted, made anew, or both: aliases alone are put back."""
    one, other = now.get((INDEX, name)), baseline.get((INDEX, name))
    if one is None or other is None or one.is_open != other.is_open:
        return True
    return _without_aliases(one) != _without_aliases(other)


def _without_aliases(index: Index) -> dict[str, Any]:
    return {name: part for name, part in json.loads(index.body).items() if name != "aliases"}


def _delete_indices(rest: Rest, indices: Sequence[str]) -> None:
    for names in chunks(indices):
        try:
            rest.delete(f"/{joined(names)}?ignore_unavailable=true")
        except RequestRefusedError:
            # A test may have blocked it. One block at a time may be taken off a blocked index.
            settings = f"/{joined(names)}/_settings?ignore_unavailable=true&expand_wildcards=all"
            for block in _BLOCKS:
                rest.put(settings, {block: None})
            rest.delete(f"/{joined(names)}?ignore_unavailable=true")


def _make_index(rest: Rest, name: str, index: Index) -> None:
    rest.put(f"/{joined([name])}", json.loads(index.body))
    if not index.is_open:
        rest.post(f"/{joined([name])}/_close")


def _put_aliases_back(rest: Rest, name: str, now: Index, before: Index) -> None:
    there, wanted = (json.loads(each.body)["aliases"] for each in (now, before))
    actions: list[dict[str, Any]] = [
        {"remove": {"index": name, "alias": each}} for each in there.keys() - wanted.keys()
    ]
    actions += [
        {"add": {"index": name, "alias": each, **options}} for each, options in wanted.items()
    ]
    rest.post("/_aliases", {"actions": actions})


def _write_beside(rest: Rest, key: Key, body: str) -> None:
    kind, name = key
    if kind == "data stream":
        why = "a test has deleted it, and its indices cannot be made as they were"
        raise NotRestoredError(f"the data stream {name!r} cannot be put back.", why=why)
    rest.put(f"/{PATHS[kind]}/{quote(name, safe='')}", json.loads(body))


def _writes(
    now: Mapping[Key, Any], baseline: Mapping[Key, Any], differing: Sequence[Key], made: set[str]
) -> dict[str, list[_Write]]:
    """Return what is to be written to each index that stays, and to those made anew."""
    keys = [key for key in differing if key[0] == DOCUMENT and key[1] not in made]
    if made:
        keys += [key for key in baseline if key[0] == DOCUMENT and key[1] in made]
    found: dict[str, list[_Write]] = defaultdict(list)
    for key in keys:
        _, index, id_ = key
        if (INDEX, index) in baseline:
            document = baseline.get(key)
            found[index].append(_Write(id_, document, (document or now[key]).routing))
    return found


def _write_documents(contents: Contents, writes: Mapping[str, list[_Write]]) -> None:
    for index, all_of_it in writes.items():
        for start in range(0, len(all_of_it), _DOCUMENTS_AT_ONCE):
            _write_some(contents, index, all_of_it[start : start + _DOCUMENTS_AT_ONCE])


def _write_some(contents: Contents, index: str, writes: Sequence[_Write]) -> None:
    lines = [line for write in writes for line in _lines(index, write)]
    told = contents.rest.post_lines(f"/{joined([index])}/_bulk?refresh=true", lines)
    results = [result for item in told["items"] for result in item.values()]
    for result in results:
        if "error" in result:
            reason = json.dumps(result["error"]).encode()
            raise RequestRefusedError(f"POST /{index}/_bulk", result["status"], reason)
    contents.has_written(
        index,
        {write.id: write.document for write in writes},
        {result["_id"]: result["_seq_no"] for result in results},
    )


def _lines(index: str, write: _Write) -> Iterator[str]:
    about = {"_id": write.id, **({"routing": write.routing} if write.routing else {})}
    if write.document is None:
        yield json.dumps({"delete": about})
        return
    if write.document.source is None:
        why = "its index does not store the source of documents"
        raise NotRestoredError(
            f"the document {write.id!r} of {index!r} cannot be put back.", why=why
        )
    yield json.dumps({"index": about})
    yield write.document.source


def _told(keys: Sequence[Key]) -> str:
    named = [" ".join(map(repr, key[1:])) for key in keys[:_MOST_TOLD]]
    return ", ".join([*named, *(["..."] if len(keys) > _MOST_TOLD else [])])


def _not_restored(why: str) -> NotRestoredError:
    return NotRestoredError(
        "indices cannot be put back as they were before the test.",
        why=why,
        remedy="let what writes in the background end with its test; a test that changes what all"
        " share can have a server of its own: scope='test' in its marker",
    )
