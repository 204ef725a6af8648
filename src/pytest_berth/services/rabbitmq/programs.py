"""Which RabbitMQ is installed, told without starting it."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pytest_berth.errors import BerthError, NoSourceError
from pytest_berth.services.rabbitmq import options as ini

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.config.options import Settings

# Debian's own on the PATH is a wrapper, which runs it as the user of the system's server.
_PACKAGED = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_ELSEWHERE = ("/opt/homebrew/sbin", "/usr/local/sbin", "/usr/sbin")
_NAMED = re.compile(r"(?:rabbitmq_server-|Cellar/rabbitmq/)(\d+(?:\.\d+)+)")
_INSTALL = "install it (apt-get install rabbitmq-server, brew install rabbitmq)"


class Installed(NamedTuple):
    """An installed server.

    Attributes:
        script: What starts it.
        version: Such as ``"3.10.8"``; ``"?"`` where no path tells.
    """

    script: Path
    version: str


def scripts() -> Iterator[Path]:
    """Yield the scripts that there are, the best one first."""
    on_path = shutil.which("rabbitmq-server")
    named = [Path(on_path)] if on_path else []
    for path in (_PACKAGED, *named, *(Path(place, "rabbitmq-server") for place in _ELSEWHERE)):
        if path.exists():
            yield path


def obstacle(settings: Settings) -> BerthError | None:
    """Tell why no local server can be had; None when one can."""
    try:
        find(settings)
    except BerthError as error:
        return error
    return None


def find(settings: Settings) -> Installed:
    """Return the server to be started: any, or one of the version that is set.

    Raises:
        NoSourceError: There is none.
    """
    wanted = "" if settings.origin(ini.VERSION) == "default" else settings[ini.VERSION]
    there = [Installed(script, _version(script)) for script in scripts()]
    for found in there:
        if f"{found.version}.".startswith(f"{wanted}." if wanted else ""):
            if shutil.which("erl"):
                return found
            raise NoSourceError(
                "RabbitMQ is installed, but Erlang is not.",
                why=f"{found.script} is there, and there is no program 'erl' on the PATH",
                remedy=f"{_INSTALL}, or install a container engine",
            )
    versions = ", ".join(found.version for found in there)
    raise NoSourceError(
        f"there is no RabbitMQ {wanted or 'server'} on this machine.",
        why=f"installed: {versions}; {settings.given(ini.VERSION)}"
        if versions
        else "there is no program 'rabbitmq-server' on the PATH, or where packages put it",
        remedy=f"leave {ini.VERSION.name} out, or {_INSTALL}"
        if versions
        else f"{_INSTALL}, or install a container engine, or set {ini.URL.name}",
    )


def _version(script: Path) -> str:
    places = [str(script.resolve()), *map(str, script.parent.parent.glob("lib/rabbitmq_server-*"))]
    found = (_NAMED.search(place) for place in places)
    return next((match[1] for match in found if match), "?")
