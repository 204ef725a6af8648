"""A Markdown table of ini options, made from the options themselves."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from pytest_berth.config import options as core_options
from pytest_berth.services.elasticsearch.service import ELASTICSEARCH
from pytest_berth.services.kafka import options as kafka
from pytest_berth.services.mongodb.service import MONGODB
from pytest_berth.services.mysql import options as mysql
from pytest_berth.services.opensearch.service import OPENSEARCH
from pytest_berth.services.postgres import options as postgres
from pytest_berth.services.rabbitmq import options as rabbitmq
from pytest_berth.services.redis import options as redis
from pytest_berth.services.s3 import options as s3
from pytest_berth.services.wiremock.service import WIREMOCK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_berth.config.options import Option

GROUPS = {
    "general": core_options.OPTIONS,
    "postgres": postgres.OPTIONS,
    "redis": redis.OPTIONS,
    "kafka": kafka.OPTIONS,
    "mongodb": MONGODB.options,
    "mysql": mysql.OPTIONS,
    "s3": s3.OPTIONS,
    "wiremock": WIREMOCK.options,
    "elasticsearch": ELASTICSEARCH.options,
    "opensearch": OPENSEARCH.options,
    "rabbitmq": rabbitmq.OPTIONS,
}
HEAD = ("Setting", "Default", "Environment, flag", "Meaning")


def table(options: Iterable[Option[Any]]) -> str:
    """Return a Markdown table of the options."""
    rows = [HEAD, ("---",) * len(HEAD), *map(_row, options)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(option: Option[Any]) -> tuple[str, ...]:
    listed = ", one per line" if option.type == "linelist" else ""
    ways = [option.variable, *([option.flag] if option.flag else [])]
    return (
        f"`{option.name}`",
        _default(option.default),
        ", ".join(f"`{way}`" for way in ways),
        f"{option.help}{listed}".replace("|", r"\|").replace("*", r"\*"),
    )


def _default(value: object) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value in ("", (), 0) or value == timedelta():
        return "not set"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
