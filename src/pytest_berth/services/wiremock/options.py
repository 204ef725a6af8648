"""The ini options of WireMock, besides those that every service has."""

from __future__ import annotations

import re
from typing import Any

from pytest_berth.config.options import Option, lines, text

# Where the server listens, what it holds, and who may ask it, is settled by berth.
_SETTLED = {
    "admin-api-basic-auth",
    "admin-api-require-https",
    "bind-address",
    "disable-http",
    "help",
    "https-port",
    "load-resources-from-classpath",
    "no-request-journal",
    "port",
    "root-dir",
    "version",
}


def _version(value: str) -> str:
    version = value.strip()
    if not re.fullmatch(r"3\.\d+\.\d+", version):
        raise ValueError("use an exact version of WireMock 3, such as 3.13.2")
    return version


def _settings(value: list[str]) -> tuple[str, ...]:
    given = lines(value)
    for line in given:
        name = line.partition("=")[0].strip()
        if not re.fullmatch(r"[a-z][a-z0-9-]*", name):
            raise ValueError(
                "use lines such as global-response-templating, or container-threads = 20,"
                f" not {line!r}"
            )
        if name in _SETTLED:
            raise ValueError(f"leave {name} out: berth settles it itself")
    return given


VERSION: Option[str] = Option(
    "berth_wiremock_version", _version, "3.13.2", "version of WireMock (default 3.13.2)"
)
SETTINGS: Option[tuple[str, ...]] = Option(
    "berth_wiremock_settings",
    _settings,
    (),
    "options of the server, a line each: global-response-templating, or container-threads = 20",
    type="linelist",
)
MAPPINGS: Option[str] = Option(
    "berth_wiremock_mappings",
    text,
    "",
    "directory of the project's stubs, JSON as WireMock has it in mappings/; each test finds them",
)
FILES: Option[str] = Option(
    "berth_wiremock_files",
    text,
    "",
    "directory of the bodies that stubs name by bodyFileName, as WireMock has it in __files/",
)
OPTIONS: tuple[Option[Any], ...] = (SETTINGS, MAPPINGS, FILES)


def arguments(settings: tuple[str, ...]) -> list[str]:
    """Return the lines of ``berth_wiremock_settings`` as arguments of WireMock's command line."""
    parts = (line.partition("=") for line in settings)
    return [
        word.strip()
        for name, equals, value in parts
        for word in ([f"--{name.strip()}", value] if equals else [f"--{name.strip()}"])
    ]
