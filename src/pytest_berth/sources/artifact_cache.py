"""The cache: the directory of downloaded server binaries."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.errors import ArtifactError, MissingExtraError
from pytest_berth.sources.os_account import is_root

if TYPE_CHECKING:
    from collections.abc import Callable

APPLICATION = "pytest-berth"
CACHE_VARIABLE = "BERTH_CACHE"


def cache_directory() -> Path:
    """Return the directory of the cache, which need not exist.

    It is ``BERTH_CACHE``, or the user's cache. A server that root starts runs as another user, so
    for root it is the machine's cache where root's own cannot be read by others.

    Raises:
        ArtifactError: What ``BERTH_CACHE`` names is, or is below, a file; or nothing names a place.
        MissingExtraError: platformdirs is not installed.
    """
    chosen = os.environ.get(CACHE_VARIABLE)
    if chosen:
        return _chosen(Path(chosen).expanduser().absolute())
    try:
        import platformdirs
    except ImportError:
        raise MissingExtraError("platformdirs", "local", needed_by="The local source") from None
    own = _own(platformdirs.user_cache_path)
    if is_root() and not (is_open(own) and _nearest(own).stat().st_uid == 0):
        # Versions before 3 do not know it.
        machines = getattr(platformdirs, "site_cache_path", None)
        shared = machines(APPLICATION, appauthor=False) if machines else f"/var/cache/{APPLICATION}"
        return Path(shared)
    return own


def _own(user_cache_path: Callable[..., Path]) -> Path:
    """Return the user's own cache.

    Raises:
        ArtifactError: There is none, as the user has no home.
    """
    why = "the system knows of no home of this user, and HOME is not set"
    try:
        found = user_cache_path(APPLICATION, appauthor=False)
    except RuntimeError as error:
        found, why = Path(), str(error)
    # Earlier versions of platformdirs give a directory "~" of the working directory.
    if found.is_absolute():
        return found
    raise ArtifactError(
        "there is no place for the cache.",
        why=why,
        remedy=f"set {CACHE_VARIABLE}=<directory>",
    )


def _chosen(path: Path) -> Path:
    there = _nearest(path)
    if not there.is_dir():
        raise ArtifactError(
            f"the cache cannot be at {path}.",
            why=f"{there} is a file, and {CACHE_VARIABLE} = {os.environ[CACHE_VARIABLE]}",
            remedy=f"set a directory, or one to be made: {CACHE_VARIABLE}=<directory>",
        )
    return path


def is_open(path: Path) -> bool:
    """Tell whether every user can reach *path*, or what will be made there."""
    there = _nearest(path)
    return all(each.stat().st_mode & stat.S_IXOTH for each in (there, *there.parents))


def stranger(path: Path) -> str:
    """Return who else can write to a directory or replace it; empty where nobody can.

    Programs of the cache are run: what others have put there, or can put there, must not be.
    """
    if not hasattr(os, "geteuid"):
        return ""
    for each in (path, *path.parents):
        found = each.stat()
        if found.st_uid not in {0, os.geteuid()}:
            return f"{each} is the user {found.st_uid}'s"
        # In a sticky directory, nobody else can exchange what is ours.
        group = found.st_mode & stat.S_IWGRP and found.st_gid not in {0, os.getegid()}
        if (group or found.st_mode & stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX:
            return f"others may write to {each}"
    return ""


def make(cache: Path) -> None:
    """Make the directory and those above it, never writable by others."""
    missing = [path for path in (cache, *cache.parents) if not path.exists()]
    cache.mkdir(parents=True, exist_ok=True)
    for path in missing:
        path.chmod(0o755 if is_root() else path.stat().st_mode & ~0o022)


def _nearest(path: Path) -> Path:
    # Not by Path.exists(), which fails in a directory that is closed to us.
    return next(each for each in (path, *path.parents) if os.access(each, os.F_OK))
