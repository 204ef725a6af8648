"""The ini options of Redis."""

from __future__ import annotations

from typing import Any

from pytest_berth.services import common_options
from pytest_berth.settings import Option

SCHEMES = ("redis", "rediss", "unix")
OLDEST = (6, 2)
# The setting that bears the token by which berth knows its own server. Redis and Valkey tell it,
# let nobody change it while they run, and use it only where they log to syslog.
TOKEN = "syslog-ident"
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


VERSION: Option[str] = Option(
    "berth_redis_version",
    _version,
    "8",
    "version of Redis: 8, 7.4; unless it is set, a local server may be any from 6.2 on",
)
IMAGE = common_options.image("redis", "valkey/valkey:8-alpine (default redis:<version>-alpine)")
URL: Option[str] = Option(
    "berth_redis_url",
    _url,
    "",
    "URL of a Redis that is there already; tests claim empty database numbers on it",
)
SOURCE = common_options.source("redis", "Redis")
SETTINGS = common_options.server_settings(
    "redis", "server", "maxmemory = 64mb", lambda name: name.lower() in {*_SETTLED, TOKEN}
)
SCOPE = common_options.scope("redis", "server")
OPTIONS: tuple[Option[Any], ...] = (VERSION, IMAGE, URL, SOURCE, SETTINGS, SCOPE)
