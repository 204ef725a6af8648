"""Server binaries from a Maven repository: fetched once into the user's cache.

A directory in the cache is whole from the moment it has its name: everything is prepared under
another one, by one process at a time, and renamed.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
from contextlib import contextmanager
from functools import cache as cached
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from pytest_berth.api import LocalPart
from pytest_berth.debug_log import debug, ignoring
from pytest_berth.errors import ArtifactError, BerthError
from pytest_berth.sources import owned_directories
from pytest_berth.sources.artifact_cache import CACHE_VARIABLE, cache_directory, make, stranger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from filelock import BaseFileLock

    from pytest_berth.api import Progress
    from pytest_berth.sources.downloads import Mirror

__all__ = ["Artifact", "cache_directory", "fetch", "pinned_by"]

PARTIAL = ".partial"
_TO_DO = {
    errno.ENOSPC: "make room there",
    errno.EDQUOT: "make room there",
    errno.EROFS: "mount it so that it can be written to",
}


class Artifact(NamedTuple):
    """A jar of a Maven repository, pinned.

    Attributes:
        coordinates: ``group:name:version``.
        sha256: Checksum of the jar, in hexadecimal digits.
        size: Size of the jar in bytes.
    """

    coordinates: str
    sha256: str
    size: int

    @property
    def name(self) -> str:
        """The artifact's name, without group and version."""
        return self.coordinates.split(":")[1]

    @property
    def version(self) -> str:
        """The artifact's version."""
        return self.coordinates.split(":")[2]

    @property
    def path(self) -> str:
        """The jar's path below the address of a repository."""
        group, name, version = self.coordinates.split(":")
        return f"{group.replace('.', '/')}/{name}/{version}/{name}-{version}.jar"

    @property
    def part(self) -> LocalPart:
        """What is told of it as a part of a local process."""
        return LocalPart(f"{self.name} {self.version}", self.directory, self.size)

    @property
    def directory(self) -> str:
        """Name of its directory in the cache; another checksum means another directory."""
        return f"{self.name}-{self.version}-{self.sha256[:12]}"


@cached
def pinned_by(package: str) -> tuple[Artifact, ...]:
    """Return the artifacts of a package's file ``pins.json``, which the tools write."""
    text = resources.files(package).joinpath("pins.json").read_text(encoding="utf-8")
    return tuple(Artifact(coordinates, **pin) for coordinates, pin in json.loads(text).items())


def fetch(
    artifact: Artifact,
    unpack: Callable[[Path, Path], None],
    *,
    cache: Path,
    mirror: str,
    progress: Progress,
) -> Path:
    """Return the directory with the artifact's files, downloading it when it is not there yet.

    Args:
        artifact: What is needed.
        unpack: Called with the jar and an empty directory that it fills.
        cache: Where it is kept, see `cache_directory`.
        mirror: Address of a Maven repository, which may hold ``user:password@``.
        progress: Where to tell about the download, and about waiting for another one.

    Raises:
        ArtifactError: It could not be downloaded, is not what is pinned, or cannot be stored.
    """
    target = cache / artifact.directory
    if target.is_dir():
        _require_trust(artifact, target)
        _note_use(target)
        return target
    # urllib and its kin cost 25 ms, which nobody should pay whose binaries are there.
    from pytest_berth.sources.downloads import Mirror

    source = Mirror.parse(mirror)
    with _explained(artifact, cache):
        make(cache)
        with _alone(cache, artifact, progress):
            _sweep(cache)
            if not target.is_dir():
                _install(artifact, unpack, target, source, progress)
    _require_trust(artifact, target)
    return target


class Stored(NamedTuple):
    """The downloads that are in the cache.

    Attributes:
        ours: Directories that this user has downloaded, which is proven.
        unproven: Others that may be downloads: of a former version, or of another user.
    """

    ours: list[Path]
    unproven: list[Path]


def stored() -> Stored:
    """Return the downloads that are in the cache; what else is there is not looked at."""
    found = Stored([], [])
    try:
        there = sorted(cache_directory().iterdir())
    except (BerthError, OSError) as error:
        debug("there are no downloads: %s", error)
        return found
    for path in there:
        # A lock beside it is made before it is downloaded, and stays.
        if path.is_dir() and _lock_path(path).exists():
            is_ours = owned_directories.is_ours(path, "", [path.parent])
            (found.ours if is_ours else found.unproven).append(path)
    return found


def used(path: Path) -> float:
    """Return when a run has used a download last, in seconds since 1970."""
    return (path / owned_directories.RECORD).stat().st_mtime


def forget(path: Path) -> None:
    """Remove a download of this user's; the next run that needs it fetches it again.

    Raises:
        filelock.Timeout: Another process downloads it.
    """
    with _lock(path).acquire(timeout=0):
        if owned_directories.is_ours(path, "", [path.parent]):
            # From one moment to the next nobody finds it; where this process is killed, the rest
            # goes with the next download.
            going = path.with_name(path.name + PARTIAL)
            path.rename(going)
            owned_directories.remove(going)


def _note_use(target: Path) -> None:
    """Note that a download is used, where this user has made it and can."""
    with ignoring(OSError, why=f"{target} is another user's, or of a former version"):
        os.utime(target / owned_directories.RECORD)


def _require_trust(artifact: Artifact, target: Path) -> None:
    """Refuse a directory that other users can have written to."""
    found = stranger(target)
    if found:
        raise ArtifactError(
            f"{artifact.name} {artifact.version} in the cache is not run: others can change it.",
            why=found,
            remedy=f"set a directory that only you, or root, can write to: {CACHE_VARIABLE}="
            "<directory>, or remove the rights of others there",
        )


def _install(
    artifact: Artifact,
    unpack: Callable[[Path, Path], None],
    target: Path,
    mirror: Mirror,
    progress: Progress,
) -> None:
    from pytest_berth.sources.unpacking import open_to_readers

    partial = target.with_name(target.name + PARTIAL)
    jar, tree = partial / f"{artifact.name}.jar", partial / "tree"
    # Its name, with the checksum of what is pinned, is nobody else's; who calls this has its lock.
    shutil.rmtree(partial, ignore_errors=True)
    try:
        tree.mkdir(parents=True)
        owned_directories.mark(partial)
        _download(artifact, jar, mirror, progress)
        unpack(jar, tree)
        open_to_readers(tree)
        owned_directories.mark(tree, target.name)
        tree.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _download(artifact: Artifact, jar: Path, mirror: Mirror, progress: Progress) -> None:
    from pytest_berth.sources.downloads import Download

    label = f"{artifact.name} {artifact.version}"
    done = 0

    def report(size: int) -> None:
        nonlocal done
        done = size
        progress.update(label, size, artifact.size)

    try:
        Download(artifact.path, artifact.sha256, artifact.size).save(jar, mirror, report)
    finally:
        if done != artifact.size:
            progress.update(label, done, done)


@contextmanager
def _alone(cache: Path, artifact: Artifact, progress: Progress) -> Iterator[None]:
    from filelock import Timeout

    lock = _lock(cache / artifact.directory)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.note(f"waiting for another process that downloads {artifact.name}")
        lock.acquire(poll_interval=0.02)
    try:
        yield
    finally:
        lock.release()


def _lock(target: Path) -> BaseFileLock:
    from filelock import FileLock

    return FileLock(_lock_path(target))


def _lock_path(target: Path) -> Path:
    return target.with_name(f"{target.name}.lock")


def _sweep(cache: Path) -> None:
    """Remove partial artifacts of killed processes: nobody holds their locks."""
    from filelock import Timeout

    for partial in cache.glob(f"*{PARTIAL}"):
        if not owned_directories.is_ours(partial, "", [cache]):
            continue
        with (
            ignoring(Timeout, why=f"{partial}: another process is writing it"),
            _lock(partial.with_suffix("")).acquire(timeout=0),
        ):
            owned_directories.remove(partial)


@contextmanager
def _explained(artifact: Artifact, cache: Path) -> Iterator[None]:
    from pytest_berth.sources.unpacking import DAMAGED

    try:
        yield
    except DAMAGED as error:
        raise ArtifactError(
            f"{artifact.name} {artifact.version} was downloaded, but cannot be unpacked.",
            why=f"{type(error).__name__}: {error}",
            remedy="use a Python that was built with lzma, or berth_source = container",
        ) from error
    except OSError as error:
        raise ArtifactError(
            f"{artifact.name} {artifact.version} cannot be stored in {cache}.",
            why=str(error),
            remedy=f"{_TO_DO.get(error.errno or 0, 'give permission there')},"
            f" or set another place: {CACHE_VARIABLE}=<directory>",
        ) from error
