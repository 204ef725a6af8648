"""The ini options of Kafka."""

from __future__ import annotations

import re
from typing import Any

from pytest_berth.config.options import Option, words
from pytest_berth.services import common_options

_TOPIC = r"[A-Za-z0-9._-]{1,249}"
# Where the broker listens and keeps its data is settled by the source that runs it.
_SETTLED = (
    r"advertised\.listeners|listeners|controller\.listener\.names|controller\.quorum\."
    r"(voters|bootstrap\.servers)|inter\.broker\.listener\.name|log\.dirs?|node\.id|broker\.id"
    r"|process\.roles"
)


def topic_name(name: str) -> str:
    """Take a name that Kafka allows for a topic."""
    if not re.fullmatch(_TOPIC, name) or name in {".", ".."}:
        raise ValueError(f"use letters, digits, dots, - and _ for a topic, not {name!r}")
    return name


def _topics(value: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(map(topic_name, words(value))))


def _version(value: str) -> str:
    version = value.strip()
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise ValueError("use an exact version such as 4.1.0")
    if int(version.partition(".")[0]) < 4:
        raise ValueError("use 4.0.0 or newer, or a broker of your own: berth_kafka_url")
    return version


def _servers(value: str) -> str:
    servers = "".join(value.split())
    for server in servers.split(","):
        host, _, port = server.rpartition(":")
        if "://" in server or not host or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError("use bootstrap servers such as host:9092,other:9092")
    return servers


def _port(value: str) -> int:
    if not value.strip():
        return 0
    if not value.strip().isdigit() or not 0 < int(value) < 65536:
        raise ValueError("use a number from 1 to 65535, such as 9092")
    return int(value)


VERSION: Option[str] = Option(
    "berth_kafka_version", _version, "4.1.0", "version of Kafka (default 4.1.0)"
)
IMAGE = common_options.image("kafka", "apache/kafka-native:4.1.0 (default apache/kafka:<version>)")
URL: Option[str] = Option(
    "berth_kafka_url",
    _servers,
    "",
    "bootstrap servers of a Kafka that is there already: host:9092,other:9092",
)
SOURCE = common_options.source("kafka", "Kafka")
PORT: Option[int] = Option(
    "berth_kafka_port",
    _port,
    0,
    "TCP port of the broker that berth starts, on this machine (default any that is free)",
)
SETTINGS = common_options.server_settings(
    "kafka", "broker", "num.partitions = 3", lambda name: re.fullmatch(_SETTLED, name)
)
TOPICS: Option[tuple[str, ...]] = Option(
    "berth_kafka_topics",
    _topics,
    (),
    "topics with fixed names: created if missing, and emptied around each test",
    type="linelist",
)
ALLOW_RESET = common_options.allow_reset("kafka", "topics on an external broker whose records")
SCOPE = common_options.scope("kafka", "broker")
OPTIONS: tuple[Option[Any], ...] = (
    VERSION,
    IMAGE,
    URL,
    SOURCE,
    PORT,
    SETTINGS,
    SCOPE,
    TOPICS,
    ALLOW_RESET,
)
