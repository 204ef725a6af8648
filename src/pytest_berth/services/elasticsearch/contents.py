"""What a worker has on a server: its indices with their documents, templates, pipelines, scripts.

Every index counts the operations in it, and the cluster counts the changes of all the rest. So one
look of two small requests tells whether anything has changed, by whichever process, and then only
that is read: of an index, the documents that were written after the last look.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_berth.services.elasticsearch.rest import joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_berth.services.elasticsearch.names import Names
    from pytest_berth.services.elasticsearch.rest import Rest

INDEX, DOCUMENT = "index", "document"
# The kinds of what stands beside indices, and by which path one of them is written and deleted.
PATHS = {
    "template": "_template",
    "index template": "_index_template",
    "component template": "_component_template",
    "pipeline": "_ingest/pipeline",
    "search pipeline": "_search/pipeline",
    "script": "_scripts",
    "data stream": "_data_stream",
}
_PAGE = 5_000
# Deleted documents are looked for in as many parts of an index.
_MOST_PARTS, _SMALLEST_PART = 200, 50
# Names that fit into the path of one request.
_AT_ONCE = 40
_OPEN = "open"
# What the server has settled when it made an index, and does not take from others.
_GIVEN = (
    *("index.uuid", "index.creation_date", "index.provided_name", "index.version."),
    *("index.history.uuid", "index.resize.", "index.routing.allocation.initial_recovery."),
)


class Document(NamedTuple):
    """A document, as it is written again.

    Attributes:
        source: Its JSON; None where the index does not store it, `UNREAD` where nobody has asked.
        routing: What its shard was chosen by; empty for its id.
    """

    source: str | None
    routing: str = ""


UNREAD = ""


class Index(NamedTuple):
    """An index without its documents.

    Attributes:
        body: Aliases, mappings and settings, as JSON that makes it anew.
        is_open: Whether it is open.
    """

    body: str
    is_open: bool


class Operations(NamedTuple):
    """What has been done in an index.

    Attributes:
        uuid: The index itself: one that is made anew has another.
        last: The number of the last operation, by primary shard; -1 where there was none.
    """

    uuid: str
    last: tuple[int, ...]


class Look(NamedTuple):
    """What one look has found.

    Attributes:
        version: Of the cluster's state: it grows with each change of anything but documents.
        indices: The open ones by name.
    """

    version: int
    indices: Mapping[str, Operations]


class _Page(NamedTuple):
    """Documents of an index.

    Attributes:
        total: How many it has in all.
        documents: Id, number of the last operation, and the document.
    """

    total: int
    documents: Sequence[tuple[str, int, Document]]


# What an index has of its own, a template, a pipeline, by kind and name; or a document, by
# `DOCUMENT`, index and id.
Key = tuple[str, ...]
NOTHING = Look(-1, {})


@dataclass
class Contents:
    """All that is known of a worker's part of a server, kept up to date by few requests.

    Attributes:
        rest: berth's own connection.
        names: Which names are the worker's.
        known: Everything by key.
        shared: Names of indices that are no worker's, on a server that all use.
    """

    rest: Rest
    names: Names
    known: dict[Key, Any] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    _seen: Look = NOTHING
    _versions: dict[str, tuple[str, int, str]] = field(default_factory=dict)
    _numbers: dict[str, dict[str, int]] = field(default_factory=dict)

    def forget(self) -> None:
        """Read everything anew at the next look."""
        self.known, self._seen = {}, NOTHING
        self._versions, self._numbers = {}, {}

    def look(self) -> Look:
        """Return what two small requests tell."""
        stats = (
            f"/{self.names.pattern}/_stats/get?level=shards&expand_wildcards=open,hidden"
            "&filter_path=indices.*.uuid,indices.*.shards.*.routing.primary"
            ",indices.*.shards.*.seq_no.max_seq_no"
        )
        state = self.rest.get("/_cluster/state/version?filter_path=version")
        told = self.rest.get(stats)
        indices = told.get("indices", {}) if told else {}
        return Look(
            state["version"],
            {name: _operations(each) for name, each in indices.items() if self.names.has(name)},
        )

    def update(self, *, with_sources: bool) -> bool:
        """Read what has changed since the last time; tell whether anything has.

        Args:
            with_sources: Whether the documents themselves are needed, or only which have changed.
        """
        now = self.look()
        if now == self._seen:
            return False
        if now.version != self._seen.version:
            self._read_all_but_documents()
        changed = [n for n, each in now.indices.items() if each != self._seen.indices.get(n)]
        self.refresh(changed)
        for name in changed:
            self._read_documents(name, now.indices[name], with_sources=with_sources)
        for name in self._numbers.keys() - now.indices.keys():
            self._drop_documents(name)
        self._seen = now
        return True

    def has_written(
        self, index: str, documents: Mapping[str, Document | None], numbers: Mapping[str, int]
    ) -> None:
        """Take in what berth itself has written, so that it need not be read.

        Where another process has written meanwhile, the numbers have a gap, and all of it is read.

        Args:
            index: Name of the index.
            documents: The documents by id; None for a deleted one.
            numbers: The number of each operation, by the same ids.
        """
        before = self._seen.indices.get(index)
        if before is None or before.last != (max(numbers.values()) - len(numbers),):
            return
        known = self._numbers[index]
        for id_, document in documents.items():
            if document is None:
                known.pop(id_, None)
                self.known.pop((DOCUMENT, index, id_), None)
            else:
                known[id_] = numbers[id_]
                self.known[DOCUMENT, index, id_] = document
        after = Operations(before.uuid, (max(numbers.values()),))
        self._seen = Look(self._seen.version, {**self._seen.indices, index: after})

    def refresh(self, indices: Sequence[str]) -> None:
        """Let searches find all that was written."""
        for names in chunks(indices):
            self.rest.post(f"/{joined(names)}/_refresh?ignore_unavailable=true")

    def _read_all_but_documents(self) -> None:
        pattern = "*" if self.names.is_berths else f"{self.names.prefix}*"
        fields = [f"metadata.indices.{pattern}.{each}" for each in ("version", "state")]
        fields += [f"metadata.indices.{pattern}.settings.index.uuid", "metadata.templates"]
        fields += [f"metadata.{each}" for each in ("index_template", "component_template")]
        fields += [f"metadata.{each}" for each in ("ingest", "search_pipeline", "stored_scripts")]
        told = self.rest.get(
            "/_cluster/state/metadata?expand_wildcards=all&filter_path="
            f"{','.join(fields)},metadata.data_stream.data_stream.*.name"
        )
        metadata = told.get("metadata", {})
        indices = metadata.get("indices", {})
        self.shared = self.names.shared(indices)
        self._read_indices({name: each for name, each in indices.items() if self.names.has(name)})
        kept = {key: self.known[key] for key in self.known if key[0] in {INDEX, DOCUMENT}}
        beside = _beside_indices(metadata)
        self.known = kept | {key: each for key, each in beside if self.names.has(key[1])}

    def _read_indices(self, told: Mapping[str, Any]) -> None:
        """Read the indices that have changed, and drop those that are gone."""
        versions = {name: _version(each) for name, each in told.items()}
        for name in self._versions.keys() - versions.keys():
            del self.known[INDEX, name]
        changed = [name for name, each in versions.items() if each != self._versions.get(name)]
        for names in chunks(changed):
            path = f"/{joined(names)}?flat_settings=true&expand_wildcards=all"
            for name, body in self.rest.get(f"{path}&ignore_unavailable=true").items():
                is_open = versions[name][-1] == _OPEN
                self.known[INDEX, name] = Index(_as_made(body), is_open)
        self._versions = {
            name: each for name, each in versions.items() if (INDEX, name) in self.known
        }

    def _read_documents(self, index: str, now: Operations, *, with_sources: bool) -> None:
        """Read the documents that were written since the last time, and find the deleted ones."""
        before = self._seen.indices.get(index)
        if before is None or before.uuid != now.uuid:
            self._drop_documents(index)
            before = Operations(now.uuid, (-1,))
        numbers = self._numbers.setdefault(index, {})
        since, total = min(before.last), -1
        for page in self._pages(index, since, with_sources=with_sources):
            total = page.total if total < 0 else total
            for id_, number, document in page.documents:
                if numbers.get(id_) != number:
                    numbers[id_] = number
                    self.known[DOCUMENT, index, id_] = document
        if total < len(numbers):
            for id_ in self._deleted(index, numbers):
                del numbers[id_], self.known[DOCUMENT, index, id_]

    def _deleted(self, index: str, numbers: Mapping[str, int]) -> set[str]:
        """Return which known documents are gone: parts that are short of some are read."""
        parts = _parts(numbers)
        ranges = [{"from": part[0][1], "to": part[-1][1] + 1} for part in parts]
        found = self.rest.post(
            f"/{joined([index])}/_search?filter_path=aggregations.parts.buckets.doc_count",
            {"size": 0, "aggs": {"parts": {"range": {"field": "_seq_no", "ranges": ranges}}}},
        )
        counted = [each["doc_count"] for each in found["aggregations"]["parts"]["buckets"]]
        gone: set[str] = set()
        for part, count in zip(parts, counted, strict=True):
            if count != len(part):
                first, last = part[0][1], part[-1][1]
                pages = self._pages(index, first - 1, with_sources=False, until=last)
                there = {id_ for page in pages for id_, _, _ in page.documents}
                gone |= {id_ for id_, _ in part} - there
        return gone

    def _drop_documents(self, index: str) -> None:
        for id_ in self._numbers.pop(index, {}):
            del self.known[DOCUMENT, index, id_]

    def _pages(
        self, index: str, since: int, *, with_sources: bool, until: int | None = None
    ) -> Iterator[_Page]:
        """Yield the documents whose last operation came later, by its number, in order."""
        while True:
            found = self.rest.post(
                f"/{joined([index])}/_search?filter_path=hits.hits,aggregations.all.doc_count",
                {
                    "query": {"range": {"_seq_no": {"gt": since, "lte": until}}},
                    # An index that never had a document does not know the field.
                    "sort": [{"_seq_no": {"order": "asc", "unmapped_type": "long"}}],
                    "size": _PAGE,
                    "_source": with_sources,
                    "aggs": {"all": {"global": {}}},
                },
            )
            hits = found.get("hits", {}).get("hits", ())
            documents = [(h["_id"], h["sort"][0], _document(h, with_sources)) for h in hits]
            yield _Page(found["aggregations"]["all"]["doc_count"], documents)
            if len(hits) < _PAGE:
                return
            # Another shard may have an operation of the last one's number.
            since = hits[-1]["sort"][0] - 1


def _parts(numbers: Mapping[str, int]) -> list[list[tuple[str, int]]]:
    """Return documents by their operations, in parts of which no two share a number."""
    parts: list[list[tuple[str, int]]] = []
    size = max(_SMALLEST_PART, len(numbers) // _MOST_PARTS)
    for id_, number in sorted(numbers.items(), key=itemgetter(1)):
        if not parts or (len(parts[-1]) >= size and parts[-1][-1][1] != number):
            parts.append([])
        parts[-1].append((id_, number))
    return parts


def chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Yield names, as many as fit into a path."""
    for start in range(0, len(names), _AT_ONCE):
        yield names[start : start + _AT_ONCE]


def _operations(told: Mapping[str, Any]) -> Operations:
    copies = (copy for shard in told["shards"].values() for copy in shard)
    primaries = (copy for copy in copies if copy["routing"]["primary"])
    return Operations(
        told["uuid"], tuple(each.get("seq_no", {}).get("max_seq_no", -1) for each in primaries)
    )


def _version(told: Mapping[str, Any]) -> tuple[str, int, str]:
    return told["settings"]["index"]["uuid"], told["version"], told["state"]


def _document(hit: Mapping[str, Any], with_sources: bool) -> Document:
    routing = hit.get("_routing", "")
    if not with_sources:
        return Document(UNREAD, routing)
    source = hit.get("_source")
    return Document(None if source is None else json.dumps(source), routing)


def _as_made(told: Mapping[str, Any]) -> str:
    """Return an index as it is made anew: without what is this one's only."""
    settings = {
        name: value for name, value in told["settings"].items() if not name.startswith(_GIVEN)
    }
    kept = {"aliases": told["aliases"], "mappings": told["mappings"], "settings": settings}
    return json.dumps(kept, sort_keys=True)


def _beside_indices(metadata: Mapping[str, Any]) -> Iterator[tuple[Key, str]]:
    """Yield what stands beside indices, each as the JSON that makes it anew.

    What the server has made for itself says so.
    """
    for kind, found in _by_kind(metadata).items():
        for name, body in found:
            about = body.get("_meta") or {}
            if not about.get("managed"):
                yield (kind, name), json.dumps(body, sort_keys=True)


def _by_kind(metadata: Mapping[str, Any]) -> dict[str, Iterable[tuple[str, dict[str, Any]]]]:
    def nested(kind: str) -> Iterable[tuple[str, dict[str, Any]]]:
        found: dict[str, dict[str, Any]] = metadata.get(kind, {}).get(kind, {})
        return found.items()

    scripts = metadata.get("stored_scripts", {}).items()
    pipelines = metadata.get("ingest", {}).get("pipeline", ())
    searches = metadata.get("search_pipeline", {}).get("search_pipeline", ())
    return {
        "template": [(n, _untyped(each)) for n, each in metadata.get("templates", {}).items()],
        "index template": nested("index_template"),
        "component template": nested("component_template"),
        "pipeline": [(each["id"], each["config"]) for each in pipelines],
        "search pipeline": [(each["id"], each["config"]) for each in searches],
        "script": [(name, {"script": each}) for name, each in scripts],
        "data stream": [(name, {}) for name, _ in nested("data_stream")],
    }


def _untyped(template: dict[str, Any]) -> dict[str, Any]:
    """Return a template of the older kind without the mapping's type, which has one name only."""
    mappings = template.get("mappings", {})
    return {**template, "mappings": mappings.get("_doc", mappings)}
