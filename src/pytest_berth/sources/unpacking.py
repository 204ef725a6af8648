"""Unpacking archives so that nothing lands outside, or may be changed by others."""

from __future__ import annotations

import lzma
import os
import shutil
import stat
import tarfile
import zipfile
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

TARBALLS = (".txz", ".tar.xz", ".tgz", ".tar.gz")
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, lzma.LZMAError, EOFError)


def unpack_tarball_in_jar(jar: Path, to: Path) -> None:
    """Unpack the one tarball that a jar holds.

    Raises:
        One of `DAMAGED`: It is not whole, holds no tarball, or a path in it leads outside.
    """
    with zipfile.ZipFile(jar) as archive:
        names = [name for name in archive.namelist() if name.endswith(TARBALLS)]
        if len(names) != 1:
            raise zipfile.BadZipFile(f"it holds {len(names)} tarballs, where one was expected")
        with archive.open(names[0]) as stream:
            unpack_tarball(stream, to)


def unpack_tarball(stream: IO[bytes], to: Path) -> None:
    """Unpack a tarball of any compression; executable bits and links inside of it are kept."""
    with tarfile.open(fileobj=stream, mode="r:*") as archive:
        if hasattr(tarfile, "data_filter"):
            archive.extractall(to, filter="data")
        else:  # Python 3.10 before 3.10.12
            archive.extractall(to, _harmless(archive))


def copy_jar(jar: Path, to: Path) -> None:
    """Take a jar as it is."""
    shutil.copyfile(jar, to / jar.name)


def open_to_readers(tree: Path) -> None:
    """Let every user read and execute what is in *tree*, and only its owner change it."""
    for directory, _, files in os.walk(tree):
        Path(directory).chmod(0o755)
        for path in (Path(directory, name) for name in files):
            if not path.is_symlink():
                path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)


def _harmless(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    for member in archive:
        if not (member.isfile() or member.isdir() or member.islnk() or member.issym()):
            raise tarfile.ExtractError(f"{member.name} is neither a file, a directory nor a link")
        link = member.linkname if member.islnk() or member.issym() else "."
        for path in (PurePosixPath(member.name), PurePosixPath(link)):
            if path.is_absolute() or ".." in path.parts:
                raise tarfile.ExtractError(f"{member.name} would land outside")
        yield member
