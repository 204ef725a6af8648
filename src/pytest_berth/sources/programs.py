"""Servers' programs on this machine: where they are, which version they tell, what is run of them.

A service's module that finds its own (`Binaries`) says what they are called, which of them fit, and
which ones are pinned; what a local source asks of every such service is answered here.
"""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pytest_berth.api import LocalPart
from pytest_berth.debug_log import debug, ignoring
from pytest_berth.errors import ArtifactError, BerthError
from pytest_berth.sources.artifact_cache import CACHE_VARIABLE, cache_directory, is_open
from pytest_berth.sources.os_account import identity, is_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pytest_berth.errors import NoSourceError
    from pytest_berth.sources.artifacts import Artifact

# Seconds that a program may take to tell its version.
TIMEOUT = 10.0
# What a server takes over from the environment that it is started in.
_INHERITED = ("TZ", "LANG", "LANGUAGE", "LC_", "JAVA_", "JDK_JAVA_", "KAFKA_")


class Installed(Protocol):
    """An installed server."""

    @property
    def label(self) -> str:
        """Its version and its place, for reports."""


class Binaries(Protocol):
    """A module that finds a service's server: one that is installed, or else a pinned one."""

    def installed(self, wanted: str) -> Installed | None:
        """Return an installed server of a version; None when there is none."""

    def pinned(self, wanted: str) -> Artifact | None:
        """Return the artifact of a version for this machine; None when there is none."""

    def missing(self, wanted: str) -> NoSourceError:
        """Return the error that tells where servers were looked for, and what would mend it."""

    def programs(self) -> Iterable[Path]:
        """Return the paths of all programs that a server may be, or be found by, here."""


def local_obstacle(binaries: Binaries, wanted: str) -> BerthError | None:
    """Tell why there is neither an installed server nor an artifact for this machine."""
    if binaries.installed(wanted):
        return None
    if binaries.pinned(wanted) is None:
        return binaries.missing(wanted)
    try:
        cache_directory()
    except BerthError as error:
        return error
    return None


def local_parts(binaries: Binaries, wanted: str) -> list[LocalPart]:
    """Return the installed server, or the pinned one."""
    found = binaries.installed(wanted)
    if found:
        return [LocalPart(found.label)]
    pin = binaries.pinned(wanted)
    return [pin.part] if pin else []


def local_identity(binaries: Binaries, wanted: str) -> list[str]:
    """Return what makes the programs of one local process differ from those of another."""
    pin = binaries.pinned(wanted)
    pinned = [cache_directory() / pin.directory] if pin else []
    return [wanted, *file_fingerprints([*binaries.programs(), *pinned])]


def on_path() -> list[Path]:
    """Return the directories of ``PATH``, without those relative to the current directory."""
    return [Path(entry) for entry in os.get_exec_path() if Path(entry).is_absolute()]


def candidates(names: Sequence[str], places: Mapping[str, Iterable[str]]) -> Iterable[Path]:
    """Return the paths of all programs of some names that there may be here.

    Args:
        names: What the programs are called.
        places: Directories beside those of ``PATH``, by the system's name.
    """
    directories = [*on_path(), *map(Path, places.get(platform.system(), ()))]
    return dict.fromkeys(directory / name for directory in directories for name in names)


def can_run(program: Path) -> bool:
    """Tell whether a program is there, and can be run by the account that servers run as."""
    return os.access(program, os.X_OK) and not is_closed(program.resolve())


@functools.cache
def told_by(program: Path, argument: str = "--version") -> str:
    """Return what a program prints; nothing where it cannot be run by us, or fails."""
    if not can_run(program):
        return ""
    try:
        return run(program, argument)
    except (OSError, subprocess.SubprocessError) as error:
        debug("%s is passed over: %s", program, error)
        return ""


def run(program: Path, argument: str) -> str:
    """Return what a program prints.

    Raises:
        OSError: It could not be launched.
        SubprocessError: It failed, or took too long.
    """
    done = subprocess.run(
        [program, argument],
        cwd=program.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=True,
        # Not as root what only a server's user has to run.
        **identity(),
    )
    return str(done.stdout)


def is_closed(path: Path) -> bool:
    """Tell whether root's servers, which run as an unprivileged user, could not enter a place."""
    return is_root() and not is_open(path)


def require_open(cache: Path) -> None:
    """Look whether servers could read what is downloaded into a directory.

    Raises:
        ArtifactError: They could not.
    """
    if is_closed(cache):
        raise ArtifactError(
            f"servers could not read their binaries in {cache}.",
            why="root's servers run as an unprivileged user, who may not enter that directory",
            remedy=f"set a directory that every user may enter: {CACHE_VARIABLE}=/var/cache/...,"
            " or run pytest as another user",
        )


def file_fingerprints(paths: Iterable[Path]) -> Iterator[str]:
    """Yield a fingerprint of each existing file: its path, size and time of change."""
    for path in paths:
        with ignoring(OSError, why=f"{path} has no fingerprint"):
            found = path.stat()
            yield f"{path} {found.st_size} {found.st_mtime_ns}"


def inherited() -> Iterator[str]:
    """Yield the variables of the environment that servers heed."""
    yield from (f"{name}={os.environ[name]}" for name in sorted(os.environ) if _is_heeded(name))


def _is_heeded(name: str) -> bool:
    return name.startswith(_INHERITED)
