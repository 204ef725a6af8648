"""What a worker's buckets hold, found without reading their objects, and put back.

A look lists versions, multipart uploads, and what is set on each bucket. moto tells in its journal
what has been written since the last look, whoever wrote it: there, only that is looked at. Content
is read once, when what fixtures have written is captured.

What is written again gets another version and time. Such a version counts as the one that it was
written for, so that nothing is put back twice.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.services.s3.buckets import OBJECT_LOCK, VERSIONING, Held

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pytest_berth.services.s3.buckets import Buckets, Content, Version

Contents = dict[tuple[str, str, "Version"], "Content"]
# By ("bucket", name), ("object", bucket, key) or ("upload", bucket, key, id).
Baseline = "Mapping[tuple[str, ...], Any]"
_BUCKET, _OBJECT, _UPLOAD = "bucket", "object", "upload"
_ENABLED = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"


class SettingsDifferError(Exception):
    """What was set on a bucket cannot be set again."""


class WorkerBuckets:
    """The buckets that are a worker's own.

    Args:
        buckets: All buckets of the server.
        is_own: Tells whether a bucket of a name is the worker's.
        names: Those that are there before any test.
    """

    def __init__(
        self, buckets: Buckets, is_own: Callable[[str], bool], names: Iterable[str]
    ) -> None:
        self.buckets = buckets
        self.strangers: set[str] = set()
        self._is_own = is_own
        self._names = tuple(names)
        self._held: dict[str, Held] = {}
        self._touched: set[tuple[str, str]] = set()
        self._contents: Contents = {}
        self._same: dict[tuple[str, str, Version], Version] = {}
        self._begin()

    def _begin(self) -> None:
        """Create the buckets that are there before any test."""
        self._held.clear()
        self._touched.clear()
        self._found: dict[tuple[str, ...], Any] = {}
        # Whether berth itself has written since the last look.
        self._is_mended = False
        self._position: int | None = None
        for name in self._names:
            self.buckets.create(name)
        self.buckets.know_settings(self._names[0])

    def on_another(self, buckets: Buckets) -> None:
        """Go on with a new server, where nothing is yet."""
        self.buckets = buckets
        self._begin()

    def look(self, *, settings: bool = True) -> dict[tuple[str, ...], Any]:
        """Return all that there is, by key; content is told from other content by its version.

        Args:
            settings: Whether to ask for what is set on each bucket, which takes a request for
                each thing that can be; else it counts as unchanged.
        """
        told = self.buckets.connection.journal(self._position or 0)
        if told is None:
            self._look_at_all(settings=settings)
            self._found = dict(self._flat())
        elif self._position is None:
            self._position, _ = told
            self._look_at_all()
            self._found = dict(self._flat())
        else:
            self._position, written = told
            if written:
                self._look_at(written)
            if written or self._is_mended:
                self._found = dict(self._flat())
        self._is_mended = False
        return self._found

    def capture(self) -> dict[tuple[str, ...], Any]:
        """Return all that there is, and read what has not been read yet."""
        found = self.look()
        for kind, *place in found:
            if kind != _OBJECT:
                continue
            bucket, key = place
            is_touched = (bucket, key) in self._touched
            for version, raw in zip(
                found[kind, bucket, key], self._held[bucket].objects[key], strict=True
            ):
                if not version.is_marker and (
                    is_touched or (bucket, key, version) not in self._contents
                ):
                    content = self.buckets.read(bucket, key, raw)
                    self._contents[bucket, key, version] = content
        self._touched.clear()
        return found

    def put_back(
        self, baseline: Mapping[tuple[str, ...], Any], *, settings: bool = True
    ) -> list[str]:
        """Make everything as it was; return the names of the buckets that were not."""
        found = self.look(settings=settings)
        touched = {place for place in self._touched if (_OBJECT, *place) in baseline}
        if found == baseline and not touched:
            return []
        self._is_mended = True
        wrong = {key[1] for key in found.keys() | baseline if found.get(key) != baseline.get(key)}
        wrong |= {bucket for bucket, _ in touched}
        for bucket in sorted(wrong):
            if (_BUCKET, bucket) not in baseline:
                self._remove(bucket)
            elif not self._can_be_mended(bucket, baseline, touched):
                self._make_anew(bucket, baseline)
            else:
                self._mend(bucket, baseline, touched)
        self._touched.clear()
        return sorted(wrong)

    def _look_at_all(self, *, settings: bool = True) -> None:
        found = {}
        for name in self._own_names():
            known = None if settings else self._held.get(name)
            found[name] = self.buckets.held(name, known.settings if known else None)
        self._held = {name: held for name, held in found.items() if held}

    def _look_at(self, written: Iterable[tuple[str, str, str]]) -> None:
        """Look at what has been written; nobody's bucket stands for all of them."""
        entries = list(written)
        self._touched |= {(bucket, key) for bucket, _, key in entries if key}
        is_set = any(kind == _BUCKET for _, kind, _ in entries)
        names = self._own_names() if is_set else list(self._held)
        found = {}
        for name in names:
            about = [each for each in entries if each[0] in {name, ""}]
            known = self._held.get(name)
            found[name] = self._updated(name, known, about) if known else self.buckets.held(name)
        self._held = {name: held for name, held in found.items() if held}

    def _updated(
        self, bucket: str, known: Held, written: Sequence[tuple[str, str, str]]
    ) -> Held | None:
        """Return what a bucket holds, where only what has been written can have changed."""
        kinds = {kind for _, kind, _ in written}
        if _BUCKET in kinds:
            return self.buckets.held(bucket)
        if not kinds:
            return known
        keys = {key for _, _, key in written}
        has_versions = _has_versions(known.settings)
        found = self.buckets.versions_of(bucket, keys, has_versions=has_versions)
        if found is None:
            return None
        others = {} if "" in keys else {k: v for k, v in known.objects.items() if k not in keys}
        uploads = self.buckets.uploads(bucket) if _UPLOAD in kinds else known.uploads
        return Held(known.settings, {**others, **found}, uploads)

    def _own_names(self) -> list[str]:
        names = self.buckets.names()
        self.strangers = {name for name in names if not self._is_own(name)}
        return [name for name in names if self._is_own(name)]

    def _flat(self) -> Iterable[tuple[tuple[str, ...], Any]]:
        for bucket, held in self._held.items():
            yield (_BUCKET, bucket), tuple(sorted(held.settings.items()))
            for key, versions in held.objects.items():
                yield (_OBJECT, bucket, key), self._known(bucket, key, versions)
            for key, upload in held.uploads:
                yield (_UPLOAD, bucket, key, upload), True

    def _known(self, bucket: str, key: str, versions: Iterable[Version]) -> tuple[Version, ...]:
        return tuple(self._same.get((bucket, key, each), each) for each in versions)

    def _can_be_mended(
        self,
        bucket: str,
        baseline: Mapping[tuple[str, ...], Any],
        touched: set[tuple[str, str]],
    ) -> bool:
        """Set what was set on a bucket; tell whether it is there, and lacks no version."""
        held = self._held.get(bucket)
        if held is None:
            return False
        settings = dict(baseline[_BUCKET, bucket])
        if held.settings != settings:
            of_versions = {VERSIONING, OBJECT_LOCK}
            if any(held.settings.get(name) != settings.get(name) for name in of_versions):
                return False
            if not self.buckets.put_settings(bucket, settings):
                return False
            held = self._held[bucket] = held._replace(settings=settings)
        if not _has_versions(settings):
            return True
        there = {key: set(self._known(bucket, key, held.objects[key])) for key in held.objects}
        return all(
            (bucket, key) not in touched and there.get(key, set()).issuperset(versions)
            for key, versions in _objects(baseline, bucket)
        )

    def _mend(
        self,
        bucket: str,
        baseline: Mapping[tuple[str, ...], Any],
        touched: set[tuple[str, str]],
    ) -> None:
        """Delete what has come, and write again what has changed."""
        held = self._held[bucket]
        wanted = dict(_objects(baseline, bucket))
        has_versions = _has_versions(held.settings)
        come = [
            (key, version)
            for key, versions in held.objects.items()
            for version, known in zip(versions, self._known(bucket, key, versions), strict=True)
            if known not in wanted.get(key, ()) and (has_versions or key not in wanted)
        ]
        self.buckets.delete_versions(bucket, come)
        uploads = frozenset(each for each in held.uploads if (_UPLOAD, bucket, *each) in baseline)
        self.buckets.abort(bucket, held.uploads - uploads)
        gone = set(come)
        left = {
            key: kept
            for key, versions in held.objects.items()
            if (kept := tuple(each for each in versions if (key, each) not in gone))
        }
        changed = [
            key
            for key, versions in wanted.items()
            if (bucket, key) in touched or self._known(bucket, key, left.get(key, ())) != versions
        ]
        for key in () if has_versions else changed:
            self.buckets.write(bucket, key, self._contents[bucket, key, wanted[key][0]])
        again = {key: wanted[key] for key in changed}
        written = self._written(bucket, again, has_versions=has_versions)
        objects = {**{key: left[key] for key in left if key not in changed}, **written}
        self._held[bucket] = Held(held.settings, objects, uploads)

    def _remove(self, bucket: str) -> None:
        held = self._held.pop(bucket, None)
        if held and b"Suspended" in held.settings.get(VERSIONING, b""):
            # moto 5.2 fails to delete delete markers meanwhile.
            self.buckets.put_setting(bucket, VERSIONING, _ENABLED)
        self.buckets.remove(bucket)

    def _make_anew(self, bucket: str, baseline: Mapping[tuple[str, ...], Any]) -> None:
        """Delete a bucket, and create it with all that it had."""
        settings: dict[str, bytes] = dict(baseline[_BUCKET, bucket])
        wanted = dict(_objects(baseline, bucket))
        self._remove(bucket)
        self.buckets.create(bucket, locked=OBJECT_LOCK in settings)
        if _has_versions(settings):
            self.buckets.put_setting(bucket, VERSIONING, _ENABLED)
        for key, versions in wanted.items():
            for version in reversed(versions):
                if version.is_marker:
                    self.buckets.delete(bucket, key)
                else:
                    self.buckets.write(bucket, key, self._contents[bucket, key, version])
        if not self.buckets.put_settings(bucket, settings):
            raise SettingsDifferError(bucket)
        objects = self._written(bucket, wanted, has_versions=_has_versions(settings))
        self._held[bucket] = Held(settings, objects, frozenset())

    def _written(
        self, bucket: str, wanted: Mapping[str, tuple[Version, ...]], *, has_versions: bool
    ) -> dict[str, tuple[Version, ...]]:
        """Note for which versions those stand that have just been written."""
        if not wanted:
            return {}
        is_told = self._position is not None
        found = (
            self.buckets.versions_of(bucket, wanted, has_versions=has_versions)
            if is_told
            else self.buckets.versions(bucket)
        ) or {}
        for key, versions in wanted.items():
            for now, then in zip(found.get(key, ()), versions, strict=False):
                self._same[bucket, key, now] = then
        return {key: found[key] for key in wanted if key in found}


def _has_versions(settings: Mapping[str, bytes]) -> bool:
    return b"<Status>" in settings.get(VERSIONING, b"")


def _objects(
    baseline: Mapping[tuple[str, ...], Any], bucket: str
) -> Iterable[tuple[str, tuple[Version, ...]]]:
    return (
        (key[2], versions)
        for key, versions in baseline.items()
        if key[0] == _OBJECT and key[1] == bucket
    )
