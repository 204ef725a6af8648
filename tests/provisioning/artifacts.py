"""Pinned downloads, kept in the user's cache so that a rebuild needs no network."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT = 60.0


@dataclass(frozen=True)
class Artifact:
    """One file that goes into an image.

    Attributes:
        url: Where it is published.
        sha256: Of what is published there.
        save_as: Its name in the build context.
        member: The member of the published zip or jar; empty to take the file itself.
    """

    url: str
    sha256: str
    save_as: str
    member: str = ""

    @classmethod
    def parse(cls, fields: Mapping[str, str]) -> Artifact:
        """Read one entry of an ``image.json``."""
        return cls(**fields)


def save(artifact: Artifact, directory: Path) -> Path:
    """Put *artifact* into *directory* under its name, downloading it if need be.

    Raises:
        OSError: It could not be downloaded.
        ValueError: What was downloaded has another checksum.
    """
    source = _cached(artifact)
    target = directory / artifact.save_as
    if not artifact.member:
        return Path(shutil.copyfile(source, target))
    with zipfile.ZipFile(source) as archive, target.open("wb") as file:
        shutil.copyfileobj(archive.open(artifact.member), file)
    return target


def cache_directory() -> Path:
    """Return the directory of downloads, in the user's cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "pytest-berth-tests"


def _cached(artifact: Artifact) -> Path:
    path = cache_directory() / f"{artifact.sha256[:12]}-{artifact.url.rsplit('/', 1)[-1]}"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        _download(artifact, path)
    return path


def _download(artifact: Artifact, path: Path) -> None:
    """Write beside *path*, check, then rename: two runs may do it at once."""
    print(f"Downloading {artifact.url} ...", flush=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        partial = Path(scratch, path.name)
        reply = urllib.request.urlopen(artifact.url, timeout=TIMEOUT)
        with reply, partial.open("wb") as file:
            shutil.copyfileobj(reply, file)
        found = _sha256(partial)
        if found != artifact.sha256:
            raise ValueError(f"{artifact.url}: SHA-256 is {found}, pinned is {artifact.sha256}")
        partial.replace(path)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
