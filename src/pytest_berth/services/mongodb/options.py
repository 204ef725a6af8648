"""The ini options of MongoDB."""

from __future__ import annotations

from typing import Any

from pytest_berth.config import common_options as common
from pytest_berth.config.options import Option

SCHEMES = ("mongodb", "mongodb+srv")


def _url(value: str) -> str:
    url = value.strip()
    scheme, separator, rest = url.partition("://")
    if url and (scheme not in SCHEMES or not separator or not rest.rpartition("@")[2]):
        raise ValueError("use a URL such as mongodb://user:password@host:27017/?authSource=admin")
    return url


IMAGE = common.image_such_as("mongo", "mongo:7 (default mongo:<version>)")
URL: Option[str] = Option(
    "berth_mongo_url",
    _url,
    "",
    "URL of a MongoDB that is there already; tests work in databases of their own on it",
)
SETTINGS = common.server_settings(
    "mongo", "server", "transactionLifetimeLimitSeconds = 30", lambda _: False
)
OPTIONS: tuple[Option[Any], ...] = (URL, SETTINGS)
