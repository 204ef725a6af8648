"""The ini options that Elasticsearch and OpenSearch have besides those of every service."""

from __future__ import annotations

import re
from functools import partial
from typing import TYPE_CHECKING

from pytest_berth.config import common_options as common
from pytest_berth.config.options import Option

if TYPE_CHECKING:
    from pytest_berth.config.options import Settings

# What the source that runs the server, or the look at it, settles.
_SETTLED = r"cluster\.name|discovery\..*|http\.port|network\..*|path\..*|transport\..*"
_INTERVAL = r"-1|\d+(ms|s|m)"


def server_settings(prefix: str) -> Option[tuple[str, ...]]:
    """Return the option for further lines of the server's own settings."""
    return common.server_settings(
        prefix,
        "server",
        "indices.query.bool.max_clause_count = 4096",
        partial(re.fullmatch, _SETTLED),
    )


def refresh_interval(prefix: str) -> Option[str]:
    """Return the option that says how often indices are refreshed by themselves."""

    def parse(value: str) -> str:
        if not re.fullmatch(_INTERVAL, value.strip()):
            raise ValueError("use -1 for never, or an interval such as 1s or 200ms")
        return value.strip()

    return Option(
        f"berth_{prefix}_refresh_interval",
        parse,
        "-1",
        "how often indices are refreshed by themselves: 1s; -1 (default) for on demand only",
    )


def given_settings(settings: Settings, option: Option[tuple[str, ...]]) -> dict[str, str]:
    """Return the server's further settings by name."""
    pairs = (pair.partition("=") for pair in settings[option])
    return {name.strip(): value.strip() for name, _, value in pairs}
