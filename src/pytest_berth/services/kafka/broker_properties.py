"""The broker's settings, and its Java's: one node, controller and broker, fit for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.services.kafka.options import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.config.options import Settings

# For a short life: no compiler that pays off late, and the quick one sets in after a tenth of the
# usual calls. A run of tests does the same few things a hundred times, not a million times.
JAVA_OPTIONS = (
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:CompileThresholdScaling=0.1",
)
_NODE = 1
_PROTOCOLS = "PLAINTEXT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT"
FIT_FOR_TESTS: Mapping[str, str] = {
    # The first consumer of a group gets its partitions at once, not after 3 s.
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "1000",
    "group.coordinator.append.linger.ms": "0",
    "controller.quorum.append.linger.ms": "0",
    # That nothing has changed is not written down twice a second: what is written, a test did.
    "metadata.max.idle.interval.ms": "0",
    # The only voter need not wait for others to stand for election.
    "controller.quorum.election.timeout.ms": "100",
    "controller.quorum.election.backoff.max.ms": "50",
    "offsets.topic.num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "num.network.threads": "2",
    "num.io.threads": "2",
    "background.threads": "2",
    "num.recovery.threads.per.data.dir": "1",
    "log.cleaner.dedupe.buffer.size": "2097152",
    "log.segment.delete.delay.ms": "1000",
    # Records bear the time of a test, which may be frozen years ago, or ahead.
    "log.message.timestamp.after.max.ms": str(2**63 - 1),
    "log.retention.ms": "-1",
    # Kafka's own default, said because production often differs.
    "auto.create.topics.enable": "true",
}


def of_node(listen: str, controller: str, data: str, *, internal: str = "") -> dict[str, str]:
    """Return the settings that say where the node listens and keeps its data.

    Args:
        listen: ``host:port`` that clients connect to; what they are told is the same.
        controller: ``host:port`` of the controller, on a loopback interface.
        data: The directory of its data.
        internal: ``host:port`` that the broker itself connects to, where it cannot reach what
            clients are told; those settings are then left to `advertised`.
    """
    clients = f"PLAINTEXT://{listen}"
    inner = f",INTERNAL://{internal}" if internal else ""
    told = {} if internal else {"advertised.listeners": clients}
    return {
        "process.roles": "broker,controller",
        "node.id": str(_NODE),
        "controller.quorum.voters": f"{_NODE}@{controller}",
        "listeners": f"{clients}{inner},CONTROLLER://{controller}",
        **told,
        "controller.listener.names": "CONTROLLER",
        "inter.broker.listener.name": "INTERNAL" if internal else "PLAINTEXT",
        "listener.security.protocol.map": _PROTOCOLS,
        "log.dirs": data,
    }


def advertised(clients: str, internal: str) -> str:
    """Return the listeners that clients, and the broker itself, are told of."""
    return f"PLAINTEXT://{clients},INTERNAL://{internal}"


def given(settings: Settings) -> dict[str, str]:
    """Return those fit for tests, with the user's in front."""
    values = dict(FIT_FOR_TESTS)
    for pair in settings[SETTINGS]:
        name, _, value = pair.partition("=")
        values[name.strip()] = value.strip()
    return values


def render(values: Mapping[str, str]) -> bytes:
    """Return the text of a properties file."""
    escaped = {name: value.replace("\\", "\\\\") for name, value in values.items()}
    return "".join(f"{name}={value}\n" for name, value in escaped.items()).encode()


def variables(values: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that the official image turns into such a file."""
    return {f"KAFKA_{_variable(name)}": value for name, value in values.items()}


def meta(cluster_id: str) -> bytes:
    """Return ``meta.properties``, which says whose data a directory holds."""
    values = {
        "version": "1",
        "cluster.id": cluster_id,
        "node.id": str(_NODE),
        "directory.id": "berthberthberthberthbw",
    }
    return render(values)


def _variable(name: str) -> str:
    return name.replace("_", "___").replace("-", "__").replace(".", "_").upper()
