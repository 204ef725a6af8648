"""How a Redis server is launched."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from pytest_berth.api import Container, Credentials, LocalPart, LocalProcess
from pytest_berth.config.options import ARTIFACT_MIRROR, may_outlive_run
from pytest_berth.services.redis import database_numbers
from pytest_berth.services.redis import options as ini
from pytest_berth.services.redis.options import SPARE, TOKEN
from pytest_berth.sources import programs

if TYPE_CHECKING:
    from pytest_berth.api import LocalRequest
    from pytest_berth.config.options import Settings
    from pytest_berth.errors import BerthError

PORT = 6379
FIT_FOR_TESTS = {
    "databases": str(ini.DATABASES),
    "save": '""',
    "appendonly": "no",
    "maxclients": "4000",
    # How often the server looks for expired keys, and for the signal that ends it: each 10 ms.
    "hz": "100",
}
_CONFIGURATION = "/berth/redis.conf"


def credentials() -> Credentials:
    """Return a new password, and a token; the account is Redis's own, ``default``."""
    return Credentials("", secrets.token_hex(16), "0", token=f"berth-{secrets.token_hex(16)}")


def container(settings: Settings, credentials: Credentials) -> Container:
    """Describe the container, through the interface of the official image.

    A file alone as command makes an image run its own server: Redis's, or Valkey's.
    """
    image = settings[ini.IMAGE] or f"redis:{settings[ini.VERSION]}-alpine"
    # The port inside is the one outside, too, where an engine lets containers be reached directly.
    port = settings[ini.PORT] or PORT
    place = {"port": str(port)}
    if not credentials.password:
        # Else Redis lets in nobody but itself. The port is published on the loopback interface.
        place["protected-mode"] = "no"
    files = {_CONFIGURATION: _configuration(settings, credentials, place).encode()}
    return Container(image, port, {}, [_CONFIGURATION], files)


def local_obstacle(settings: Settings) -> BerthError | None:
    """Tell why there is neither an installed server nor an artifact for this machine."""
    from pytest_berth.services.redis import binaries

    return programs.local_obstacle(binaries, _wanted(settings))


def local_parts(settings: Settings) -> list[LocalPart]:
    """Return the installed server, or the pinned one."""
    from pytest_berth.services.redis import binaries

    return programs.local_parts(binaries, _wanted(settings))


def local(settings: Settings, request: LocalRequest) -> LocalProcess:
    """Describe the process."""
    from pytest_berth.services.redis import binaries

    found = binaries.find(
        _wanted(settings), mirror=settings[ARTIFACT_MIRROR], progress=request.progress
    )
    place = {"bind": "127.0.0.1", "port": str(request.port), "dir": f'"{request.directory}"'}
    configuration = _configuration(settings, request.credentials, place)
    return LocalProcess(
        version=found.version,
        detail=found.origin,
        prepare=[],
        command=[str(found.program), str(request.directory / "redis.conf")],
        files={"redis.conf": configuration.encode()},
    )


def local_shape(settings: Settings) -> list[str]:
    """Return what makes one process differ from another: programs and settings."""
    from pytest_berth.services.redis import binaries

    found = programs.local_identity(binaries, _wanted(settings))
    nobody = Credentials("", "", "0")
    return [*found, _configuration(settings, nobody, {})]


def _wanted(settings: Settings) -> str:
    """Return the version that was asked for, empty where any will do."""
    return "" if settings.origin(ini.VERSION) == "default" else settings[ini.VERSION]


def _configuration(settings: Settings, credentials: Credentials, place: dict[str, str]) -> str:
    values = {**FIT_FOR_TESTS, **place, TOKEN: credentials.token}
    if credentials.password:
        values["requirepass"] = f'"{_escaped(credentials.password)}"'
    for pair in settings[ini.SETTINGS]:
        name, _, value = pair.partition("=")
        values[name.strip().lower()] = value.strip()
    if may_outlive_run(settings):
        values["databases"] = str(database_numbers.count(settings) + SPARE)
    return "".join(f"{name} {value}\n" for name, value in values.items())


def _escaped(text: str) -> str:
    """Return a text as it stands between double quotes in redis.conf."""
    return text.replace("\\", "\\\\").replace('"', '\\"')
