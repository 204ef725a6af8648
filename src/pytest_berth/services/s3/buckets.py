"""Buckets: what is in them, what is set on them, and how both are written back."""

from __future__ import annotations

import base64
import hashlib
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_plus, urlencode
from xml.etree import ElementTree
from xml.sax.saxutils import escape

from pytest_berth.services.s3.connection import NOT_FOUND, OK, RefusedError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from pytest_berth.services.s3.connection import Answer, Connection

VERSIONING, POLICY, OBJECT_LOCK = "versioning", "policy", "object-lock"
# What can be set on a bucket, by the parameter that asks for it.
SETTINGS = (
    VERSIONING,
    OBJECT_LOCK,
    "ownershipControls",
    "publicAccessBlock",
    "acl",
    "cors",
    "encryption",
    "lifecycle",
    "logging",
    "notification",
    "tagging",
    "website",
    POLICY,
)
_AT_ONCE = 1000
# So many keys are looked at one by one, where a bucket may have thousands.
_FEW = 10
# Of an object, what is sent again with its content.
_KEPT_HEADERS = {
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "expires",
    "x-amz-storage-class",
    "x-amz-website-redirect-location",
}
# What a page of a listing begins with, and what the page before calls it.
_VERSION_MARKERS = {"key-marker": "NextKeyMarker", "version-id-marker": "NextVersionIdMarker"}
_UPLOAD_MARKERS = {"key-marker": "NextKeyMarker", "upload-id-marker": "NextUploadIdMarker"}
# Markers that are keys, and so encoded as keys are.
_KEYS = {"key-marker"}
# XML would read it as a line's end.
_KEPT = {"\r": "&#13;"}
_BYPASS = {"x-amz-bypass-governance-retention": "true"}
_LOCKED = {"x-amz-bucket-object-lock-enabled": "true"}


class Version(NamedTuple):
    """A version of an object, as listings tell it.

    Attributes:
        id: ``"null"`` where the bucket has no versions.
        etag: What tells its content; empty for a delete marker.
        modified: When it was written.
        is_marker: Whether it says that the object is deleted.
    """

    id: str
    etag: str
    modified: str
    is_marker: bool = False


class Content(NamedTuple):
    """What a version holds: all that is needed to write it again."""

    body: bytes
    headers: Mapping[str, str]


class Held(NamedTuple):
    """What a bucket holds.

    Attributes:
        settings: The documents that are set on it, by their parameter.
        objects: The versions of each key, the newest first.
        uploads: The multipart uploads that are not complete: key and id.
    """

    settings: Mapping[str, bytes]
    objects: Mapping[str, tuple[Version, ...]]
    uploads: frozenset[tuple[str, str]]


class Buckets:
    """The buckets of a server, by berth's connection.

    Args:
        connection: The connection.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._settings: Sequence[str] = SETTINGS

    def names(self) -> list[str]:
        """Return the names of all buckets of the account."""
        tree = _tree(self.connection.ask("GET").body)
        return [name for each in _all(tree, "Bucket") if (name := _text(each, "Name"))]

    def know_settings(self, bucket: str) -> None:
        """Note what can be set on a bucket: what the server does not know is asked no more."""
        self._settings = [
            name for name in SETTINGS if self._told(bucket, name).status in {OK, NOT_FOUND}
        ]

    def settings(self, bucket: str) -> dict[str, bytes]:
        """Return what is set on a bucket: documents, by their parameters."""
        answers = {name: self._told(bucket, name) for name in self._settings}
        return {name: answer.body for name, answer in answers.items() if answer.status == OK}

    def held(self, bucket: str, settings: Mapping[str, bytes] | None = None) -> Held | None:
        """Return what a bucket holds; None where it is not there.

        Args:
            bucket: Its name.
            settings: What is set on it, if that is known.
        """
        objects = self.versions(bucket)
        if objects is None:
            return None
        if settings is None:
            settings = self.settings(bucket)
        return Held(settings, objects, self.uploads(bucket))

    def versions_of(
        self, bucket: str, keys: Collection[str], *, has_versions: bool
    ) -> dict[str, tuple[Version, ...]] | None:
        """Return the versions of some keys, of moto's; where the keys are many, of all.

        Args:
            bucket: Its name.
            keys: The keys; an empty one stands for any.
            has_versions: Whether there may be several of each.
        """
        if "" in keys or len(keys) > _FEW:
            return self.versions(bucket)
        found: dict[str, tuple[Version, ...]] = {}
        for key in keys:
            if not has_versions:
                found.update(self._only_version(bucket, key))
                continue
            versions = self.versions(bucket, key)
            if versions is None:
                return None
            found.update({key: versions[key]} if key in versions else {})
        return found

    def _only_version(self, bucket: str, key: str) -> dict[str, tuple[Version, ...]]:
        """Return what a listing tells of a key: moto lists a thousand keys to tell of one."""
        answer = self.connection.ask("HEAD", bucket, key, absent=True)
        if answer.status == NOT_FOUND:
            return {}
        modified = parsedate_to_datetime(answer.headers["last-modified"])
        told = modified.strftime("%Y-%m-%dT%H:%M:%S.000Z")
        return {key: (Version("null", answer.headers["etag"].strip('"'), told),)}

    def versions(self, bucket: str, prefix: str = "") -> dict[str, tuple[Version, ...]] | None:
        """Return the versions of each key, the newest first; None where there is no such bucket.

        Args:
            bucket: Its name.
            prefix: What the keys begin with.
        """
        found: dict[str, list[Version]] = {}
        for tree in self._pages(bucket, "versions", _VERSION_MARKERS, prefix):
            if tree is None:
                return None
            is_encoded = _text(tree, "EncodingType") == "url"
            for each in tree:
                kind = _kind(each)
                if kind not in {"Version", "DeleteMarker"}:
                    continue
                key = unquote_plus(_text(each, "Key")) if is_encoded else _text(each, "Key")
                version = Version(
                    _text(each, "VersionId") or "null",
                    _text(each, "ETag").strip('"'),
                    _text(each, "LastModified"),
                    kind == "DeleteMarker",
                )
                known = found.setdefault(key, [])
                # Not every server lists delete markers among the versions.
                known.insert(0 if _text(each, "IsLatest") == "true" else len(known), version)
        return {key: tuple(versions) for key, versions in found.items()}

    def uploads(self, bucket: str) -> frozenset[tuple[str, str]]:
        """Return the multipart uploads that are not complete: key and id."""
        return frozenset(self._uploads(bucket))

    def read(self, bucket: str, key: str, version: Version) -> Content:
        """Return the content of a version, with its headers and tags."""
        query = {} if version.id == "null" else {"versionId": version.id}
        answer = self.connection.ask("GET", bucket, key, query=query)
        headers = {
            name: value
            for name, value in answer.headers.items()
            if name in _KEPT_HEADERS or name.startswith("x-amz-meta-")
        }
        if answer.headers.get("x-amz-tagging-count", "0") != "0":
            headers["x-amz-tagging"] = self._tags(bucket, key, query)
        return Content(answer.body, headers)

    def write(self, bucket: str, key: str, content: Content) -> None:
        """Write an object."""
        self.connection.ask("PUT", bucket, key, body=content.body, headers=content.headers)

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object: where there are versions, a delete marker is its newest one then."""
        self.connection.ask("DELETE", bucket, key)

    def delete_versions(self, bucket: str, versions: Iterable[tuple[str, Version]]) -> None:
        """Delete versions, and delete markers, for good."""
        named = [
            f"<Object><Key>{escape(key, _KEPT)}</Key><VersionId>{version.id}</VersionId></Object>"
            for key, version in versions
        ]
        for start in range(0, len(named), _AT_ONCE):
            some = "".join(named[start : start + _AT_ONCE])
            body = f"<Delete><Quiet>true</Quiet>{some}</Delete>".encode()
            digest = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
            headers = {"Content-MD5": digest, **_BYPASS}
            answer = self.connection.ask(
                "POST", bucket, query={"delete": ""}, body=body, headers=headers
            )
            if b"<Error>" in answer.body:
                raise RefusedError(f"POST /{bucket}?delete", answer)

    def abort(self, bucket: str, uploads: Iterable[tuple[str, str]]) -> None:
        """Abort multipart uploads."""
        for key, upload in uploads:
            self.connection.ask("DELETE", bucket, key, query={"uploadId": upload}, absent=True)

    def create(self, bucket: str, *, locked: bool = False) -> None:
        """Create a bucket."""
        self.connection.ask("PUT", bucket, headers=_LOCKED if locked else {})

    def remove(self, bucket: str) -> None:
        """Delete a bucket with all that is in it."""
        # A policy may forbid what follows, and there may be no policies.
        self.connection.ask("DELETE", bucket, query={POLICY: ""}, absent=True)
        objects = self.versions(bucket)
        if objects is None:
            return
        self.delete_versions(bucket, _flat(objects))
        self.abort(bucket, self.uploads(bucket))
        self.connection.ask("DELETE", bucket, absent=True)

    def put_settings(self, bucket: str, wanted: Mapping[str, bytes]) -> bool:
        """Set on a bucket what is wanted, and nothing else; tell whether that could be done."""
        found = self.settings(bucket)
        wrong = [name for name in found.keys() | wanted if found.get(name) != wanted.get(name)]
        # A policy comes last: it may forbid what comes before.
        for name in sorted(wrong, key=lambda each: each == POLICY):
            if name in wanted:
                self.put_setting(bucket, name, wanted[name])
            else:
                self.connection.ask("DELETE", bucket, query={name: ""}, refused=True)
        return not wrong or self.settings(bucket) == wanted

    def put_setting(self, bucket: str, name: str, document: bytes) -> None:
        """Set a document on a bucket, where the server takes it."""
        digest = base64.b64encode(hashlib.md5(document, usedforsecurity=False).digest()).decode()
        self.connection.ask(
            "PUT",
            bucket,
            query={name: ""},
            body=document,
            headers={"Content-MD5": digest},
            refused=True,
        )

    def _told(self, bucket: str, name: str) -> Answer:
        return self.connection.ask("GET", bucket, query={name: ""}, refused=True)

    def _tags(self, bucket: str, key: str, query: Mapping[str, str]) -> str:
        tree = _tree(self.connection.ask("GET", bucket, key, query={"tagging": "", **query}).body)
        return urlencode([(_text(tag, "Key"), _text(tag, "Value")) for tag in _all(tree, "Tag")])

    def _uploads(self, bucket: str) -> Iterator[tuple[str, str]]:
        for tree in self._pages(bucket, "uploads", _UPLOAD_MARKERS):
            is_encoded = tree is not None and _text(tree, "EncodingType") == "url"
            for each in _all(tree, "Upload") if tree is not None else ():
                key = _text(each, "Key")
                yield unquote_plus(key) if is_encoded else key, _text(each, "UploadId")

    def _pages(
        self, bucket: str, what: str, markers: Mapping[str, str], prefix: str = ""
    ) -> Iterator[ElementTree.Element | None]:
        query = {what: "", "encoding-type": "url", **({"prefix": prefix} if prefix else {})}
        while True:
            answer = self.connection.ask("GET", bucket, query=query, absent=True)
            if answer.status >= 300:
                yield None
                return
            tree = _tree(answer.body)
            yield tree
            if _text(tree, "IsTruncated") != "true":
                return
            is_encoded = _text(tree, "EncodingType") == "url"
            for marker, name in markers.items():
                told = _text(tree, name)
                query[marker] = unquote_plus(told) if is_encoded and marker in _KEYS else told


def _flat(objects: Mapping[str, tuple[Version, ...]]) -> Iterator[tuple[str, Version]]:
    return ((key, version) for key, versions in objects.items() for version in versions)


def _tree(body: bytes) -> ElementTree.Element:
    return ElementTree.fromstring(body)


def _kind(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _all(tree: ElementTree.Element, kind: str) -> Iterator[ElementTree.Element]:
    return (each for each in tree.iter() if _kind(each) == kind)


def _text(element: ElementTree.Element, kind: str) -> str:
    """Return the text of the child of a kind; empty where there is none."""
    return next((each.text or "" for each in element if _kind(each) == kind), "")
