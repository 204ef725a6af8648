"""The ini options of Redis."""

from __future__ import annotations

from typing import Any, NamedTuple

from pytest_berth.config import common_options as common
from pytest_berth.config.descriptor import Marker
from pytest_berth.config.options import Option, text

SCHEMES = ("redis", "rediss", "unix")
OLDEST = (6, 2)
# Redis's own word for it, in its rules of users.
NO_PASSWORD = "nopass"
DATABASES = 256
# Numbers that no test works in, of a server that may outlive its run: for what has failed.
SPARE = 64
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


def _number(value: str) -> str:
    if value.strip() and not value.strip().isdigit():
        raise ValueError("use the number of a database, such as 0")
    return value.strip()


VERSION: Option[str] = Option(
    "berth_redis_version",
    _version,
    "8",
    "version of Redis: 8, 7.4; unless it is set, a local server may be any from 6.2 on",
)
IMAGE = common.image_such_as("redis", "valkey/valkey:8-alpine (default redis:<version>-alpine)")
URL: Option[str] = Option(
    "berth_redis_url",
    _url,
    "",
    "URL of a Redis that is there already; tests claim empty database numbers on it",
)
SOURCE = common.source("redis", "Redis")
SETTINGS = common.server_settings(
    "redis", "server", "maxmemory = 64mb", lambda name: name.lower() in {*_SETTLED, TOKEN}
)
SCOPE = common.scope("redis", "server")
PASSWORD: Option[str] = Option(
    "berth_redis_password",
    text,
    "",
    "password of the server that berth starts, for an application that cannot be told;"
    f" {NO_PASSWORD}: none (default a new one for each run)",
)
PORT = common.port("redis", "server", 6379)
NUMBER: Option[str] = Option(
    "berth_redis_db",
    _number,
    "",
    "database number that tests work in (default 0, or one for each worker; on an external server"
    " one that is claimed)",
)
OPTIONS: tuple[Option[Any], ...] = (
    VERSION,
    IMAGE,
    URL,
    SOURCE,
    SCOPE,
    PASSWORD,
    NUMBER,
    PORT,
    SETTINGS,
)


class RedisMarker(NamedTuple):
    """What ``@pytest.mark.berth_redis`` says about a test."""

    scope: str | None = None


def berth_redis(*, scope: str | None = None) -> RedisMarker:
    """Take the arguments of ``@pytest.mark.berth_redis``.

    Args:
        scope: ``test`` for a server of the test's own.
    """
    return RedisMarker(scope)


MARKER = Marker(
    berth_redis,
    "berth_redis(scope=None): scope='test' gives the test a Redis server of its own, for what a"
    " database number does not keep apart: pub/sub, CONFIG, functions",
)
