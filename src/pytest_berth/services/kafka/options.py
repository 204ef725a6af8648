"""The ini options of Kafka."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_berth.config import common_options as common
from pytest_berth.config.descriptor import Marker
from pytest_berth.config.options import Option, words

if TYPE_CHECKING:
    from collections.abc import Sequence

_TOPIC = r"[A-Za-z0-9._-]{1,249}"
# Where the broker listens and keeps its data is settled by the source that runs it.
_SETTLED = (
    r"advertised\.listeners|listeners|controller\.listener\.names|controller\.quorum\."
    r"(voters|bootstrap\.servers)|inter\.broker\.listener\.name|log\.dirs?|node\.id|broker\.id"
    r"|process\.roles"
)


def setting_of(variable: str) -> str | None:
    """Return the broker's setting that a variable of the official image stands for.

    Returns:
        Nothing where it makes no difference here, as berth's broker is a single one, and its own;
        None where it stands for no setting.
    """
    if not variable.startswith(_VARIABLE) or re.fullmatch(_NO_SETTING, variable):
        return None
    words = variable.removeprefix(_VARIABLE).lower().split("___")
    name = "_".join(word.replace("__", "-").replace("_", ".") for word in words)
    return "" if re.fullmatch(_SETTLED, name) or re.fullmatch(_OF_CLUSTERS, name) else name


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


_VARIABLE = "KAFKA_"
# Patterns are compiled where they are needed: runs without Kafka import this, too.
_NO_SETTING = (
    r"KAFKA_(?:\w+_OPTS|LOG4J_\w+|TOOLS_\w+|JMX_\w+|CONFLUENT_\w+"
    r"|AUTHORIZER_\w+|SASL_\w+|SSL_\w+|SUPER_USERS)"
)
# What berth's only broker could not do, or what brokers had before they did without ZooKeeper.
_OF_CLUSTERS = (
    r".*(?:replication\.factor|min\.isr|min\.insync\.replicas)|zookeeper\..*|broker\.(?:id|rack)"
    r"|cluster\.id|host\.name|port|(?:advertised|controller|inter\.broker|listener|security)\..*"
)
VERSION: Option[str] = Option(
    "berth_kafka_version", _version, "4.1.0", "version of Kafka (default 4.1.0)"
)
IMAGE = common.image_such_as("kafka", "apache/kafka-native:4.1.0 (default apache/kafka:<version>)")
URL: Option[str] = Option(
    "berth_kafka_url",
    _servers,
    "",
    "bootstrap servers of a Kafka that is there already: host:9092,other:9092",
)
SOURCE = common.source("kafka", "Kafka")
PORT = common.port("kafka", "broker", 9092)
SETTINGS = common.server_settings(
    "kafka", "broker", "num.partitions = 3", lambda name: re.fullmatch(_SETTLED, name)
)
TOPICS: Option[tuple[str, ...]] = Option(
    "berth_kafka_topics",
    _topics,
    (),
    "topics with fixed names: created if missing, and emptied around each test",
    type="linelist",
)
ALLOW_RESET = common.allow_reset("kafka", "topics on an external broker whose records")
SCOPE = common.scope("kafka", "broker")
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


class KafkaMarker(NamedTuple):
    """What ``@pytest.mark.berth_kafka`` says about a test."""

    topics: Sequence[str] = ()
    scope: str | None = None


def berth_kafka(*, topics: Sequence[str] = (), scope: str | None = None) -> KafkaMarker:
    """Take the arguments of ``@pytest.mark.berth_kafka``.

    Args:
        topics: Topics with fixed names, besides those of ``berth_kafka_topics``.
        scope: ``test`` for a broker of the test's own.
    """
    return KafkaMarker([topics] if isinstance(topics, str) else topics, scope)


MARKER = Marker(
    berth_kafka,
    "berth_kafka(topics=(), scope=None): topics with fixed names that the test uses: created if "
    "missing, emptied around the test; and whose broker it gets",
)
