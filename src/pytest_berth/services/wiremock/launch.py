"""How a WireMock is launched."""

from __future__ import annotations

import secrets
from pathlib import PurePath
from typing import TYPE_CHECKING

from pytest_berth.api import Container, Credentials, LocalPart, LocalProcess
from pytest_berth.config.options import ARTIFACT_MIRROR
from pytest_berth.errors import BerthError, NoSourceError
from pytest_berth.services.wiremock import options as ini
from pytest_berth.services.wiremock import project_stubs
from pytest_berth.sources.programs import file_fingerprints

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from pytest_berth.api import LocalRequest
    from pytest_berth.config.options import Settings
    from pytest_berth.sources.artifacts import Artifact

PORT = 8080
# The file's name is what tells a server of ours from others: WireMock lists its files to everybody.
TOKEN_FILE = "berth-{token}"
_HOME = "/home/wiremock"
_MAIN = "wiremock.Run"
# A short life: no compiler that pays off late.
_SMALL = ("-Xms32m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_QUIET = ("--disable-banner",)


def credentials(*, given: bool) -> Credentials:
    """Return a token in the place of an account: WireMock has none.

    Args:
        given: Whether the settings fix the port.
    """
    return Credentials("", "", "", token=secrets.token_hex(16), given=given)


def container(settings: Settings, image: str, credentials: Credentials, port: int) -> Container:
    """Describe the container, through the interface of the official image."""
    files = _root_files(settings, credentials)
    return Container(
        image,
        port or PORT,
        {"JAVA_OPTS": " ".join(_SMALL)},
        ["--port", str(port or PORT), *_QUIET, *ini.arguments(settings[ini.SETTINGS])],
        {f"{_HOME}/{path}": content for path, content in files.items()},
    )


def local_obstacle(settings: Settings) -> BerthError | None:
    """Tell why there is no Java, or no pinned WireMock, for a local process."""
    from pytest_berth.sources import java
    from pytest_berth.sources.artifacts import cache_directory

    version, pinned = settings[ini.VERSION], pins()
    if version not in pinned:
        return NoSourceError(
            f"there is no pinned jar of WireMock {version}.",
            why=f"{settings.given(ini.VERSION)}; pinned: {', '.join(pinned)}",
            remedy=f"{ini.VERSION.name} = {max(pinned)}, or use a container:"
            " berth_wiremock_source = container",
        )
    try:
        java.find("WireMock", "wiremock")
        cache_directory()
    except BerthError as error:
        return error
    return None


def local_parts(settings: Settings) -> list[LocalPart]:
    """Return the Java, and the pinned jar."""
    from pytest_berth.sources import java

    found = java.find("WireMock", "wiremock")
    jar = pins()[settings[ini.VERSION]].part
    return [LocalPart(f"Java {found.version} ({found.origin})"), jar]


def local_shape(settings: Settings) -> list[str]:
    """Return what makes one process differ from another: WireMock, Java and settings."""
    from pytest_berth.sources import java

    programs = file_fingerprints(java.programs())
    return [settings[ini.VERSION], *programs, *settings[ini.SETTINGS]]


def local(settings: Settings, request: LocalRequest) -> LocalProcess:
    """Describe the process."""
    from pytest_berth.sources import java, os_account

    version, found = settings[ini.VERSION], java.find("WireMock", "wiremock")
    root, files = request.directory / "root", _root_files(settings, request.credentials)
    within = {root / parent for path in files for parent in PurePath(path).parents}
    for place in sorted(within | {root / "mappings"}):
        place.mkdir(mode=0o700)  # a test may have WireMock write there
        os_account.give(place)
    command = [str(found.program), *_SMALL, "-XX:-UsePerfData", "-cp", str(_jar(settings, request))]
    command += [_MAIN, "--bind-address", "127.0.0.1", "--port", str(request.port)]
    command += ["--root-dir", str(root), *_QUIET, *ini.arguments(settings[ini.SETTINGS])]
    return LocalProcess(
        version=version,
        detail=f"Java {found.version} ({found.origin})",
        command=command,
        files={f"root/{path}": content for path, content in files.items()},
        stop_signal="SIGKILL",  # nothing of it is kept
    )


def pins() -> Mapping[str, Artifact]:
    """Return the pinned jars by version; ``tools/pin_artifacts.py`` writes the pins."""
    from pytest_berth.sources.artifacts import pinned_by

    return {artifact.version: artifact for artifact in pinned_by(__package__ or "")}


def _jar(settings: Settings, request: LocalRequest) -> Path:
    """Return the pinned jar, downloaded when it is not there yet."""
    from pytest_berth.sources.artifacts import cache_directory, fetch
    from pytest_berth.sources.unpacking import copy_jar

    pin, mirror = pins()[settings[ini.VERSION]], settings[ARTIFACT_MIRROR]
    cache = cache_directory()
    tree = fetch(pin, copy_jar, cache=cache, mirror=mirror, progress=request.progress)
    return next(tree.glob("*.jar"))


def _root_files(settings: Settings, credentials: Credentials) -> dict[str, bytes]:
    token = f"__files/{TOKEN_FILE.format(token=credentials.token)}"
    return {token: b"", **project_stubs.root_files(settings)}
