"""The ini options of Redis."""

from __future__ import annotations

from typing import Any

from pytest_berth.lifecycle import scopes
from pytest_berth.settings import Option, choice, lines, text

SCHEMES = ("redis", "rediss", "unix")
OLDEST = (6, 2)
# Where the server listens, and who may enter, is settled by the source that runs it.
_SETTLED = {"bind", "daemonize", "dir", "port", "protected-mode", "requirepass", "unixsocket"}


def _version(value: str) -> str:
    version = value.strip()
    parts = version.split(".")
    if not all(part.isdigit() for part in parts):
        raise ValueError("use a version such as 8, 7.4 or 7.4.1")
    if tuple(map(int, parts)) < OLDEST[: len(parts)]:
        raise ValueError("use 6.2 or newer")
    return version


def _url(value: str) -> str:
    url = value.strip()
    if url and url.partition("://")[0] not in SCHEMES:
        raise ValueError("use a URL such as redis://:password@host:6379, rediss:// or unix://")
    return url


def _pairs(value: list[str]) -> tuple[str, ...]:
    pairs = lines(value)
    for pair in pairs:
        name, equals, _ = pair.partition("=")
        if not equals or not name.strip():
            raise ValueError(f"use lines such as maxmemory = 64mb, not {pair!r}")
        if name.strip().lower() in _SETTLED:
            raise ValueError(f"leave {name.strip()} out: berth settles it itself")
    return pairs


VERSION: Option[str] = Option(
    "berth_redis_version",
    _version,
    "8",
    "version of Redis: 8, 7.4; unless it is set, a local server may be any from 6.2 on",
)
IMAGE: Option[str] = Option(
    "berth_redis_image",
    text,
    "",
    "image of the container, such as valkey/valkey:8-alpine (default redis:<version>-alpine)",
)
URL: Option[str] = Option(
    "berth_redis_url",
    _url,
    "",
    "URL of a Redis that is there already; tests claim empty database numbers on it",
)
SOURCE: Option[str] = Option(
    "berth_redis_source",
    choice("", "auto", "container", "local", "external"),
    "",
    "where Redis comes from, when it differs from berth_source",
)
SETTINGS: Option[tuple[str, ...]] = Option(
    "berth_redis_settings",
    _pairs,
    (),
    "settings of the server beside those fit for tests: lines such as maxmemory = 64mb",
    type="linelist",
)
SCOPE: Option[str] = Option(
    "berth_redis_scope",
    scopes.parse,
    scopes.RUN,
    "who shares a server: the run (default), a worker, or nobody but the test",
)
OPTIONS: tuple[Option[Any], ...] = (VERSION, IMAGE, URL, SOURCE, SETTINGS, SCOPE)
