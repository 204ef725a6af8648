"""Topics: what they are like, where their records begin and end; creating, emptying, deleting."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_berth.services.kafka.brokers import metadata_request
from pytest_berth.services.kafka.connection import require
from pytest_berth.services.kafka.kafka_python import admin_messages, consumer_messages, errors
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping
    from uuid import UUID

    from pytest_berth.services.kafka.brokers import Brokers
    from pytest_berth.services.kafka.kafka_python import ApiMessage

Offsets = dict[int, int]
EARLIEST, LATEST = -2, -1
INTERNAL = "__"
# What has stayed of failed tests begins so: see `kept_topics`.
KEPT = "berth-kept-"
_TOPIC, _SET_BY_TOPIC = 2, 1
_SET, _DELETE = 0, 1
_WITHIN = 10.0
_TIMEOUT_MS = 10_000
# A broker that is busy with something else says so, and means it for milliseconds.
NOT_YET = (
    errors.LeaderNotAvailableError,
    errors.NotLeaderForPartitionError,
    errors.UnknownTopicOrPartitionError,
    errors.NotControllerError,
    errors.KafkaStorageError,
    errors.ReplicaNotAvailableError,
)


@dataclass(frozen=True)
class Topic:
    """What a topic is like, apart from its records.

    Attributes:
        name: Its name.
        id: Its id; a topic that is made anew has another one.
        leaders: Which broker has each partition.
        replicas: How many copies there are of a partition.
        configs: The settings that are its own.
    """

    name: str
    id: UUID
    leaders: Mapping[int, int]
    replicas: int
    configs: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_led(self) -> bool:
        """Whether each of its partitions has a broker."""
        return bool(self.leaders) and all(each >= 0 for each in self.leaders.values())

    def is_like(self, other: Topic) -> bool:
        """Tell whether another one has as many partitions."""
        return self.leaders.keys() == other.leaders.keys()


@dataclass(frozen=True)
class Mark:
    """Where reading a topic begins.

    Attributes:
        id: The topic's id; made anew, it is read from its beginning.
        offsets: The first offset, by partition.
    """

    id: UUID
    offsets: Offsets


@dataclass(frozen=True)
class Extents:
    """Topics, and where the records of those that can be read begin and end.

    Attributes:
        topics: The topics by name, also those of which a partition has no broker.
        starts: The offset of the first record that is kept, by topic and partition.
        ends: The offset of the next record to come, by topic and partition.
    """

    topics: Mapping[str, Topic]
    starts: Mapping[str, Offsets]
    ends: Mapping[str, Offsets]


def find(brokers: Brokers, names: Iterable[str] | None = None) -> dict[str, Topic]:
    """Return those of the topics that exist, without their settings; all if *None*.

    Kafka's own, and what stays of failed tests, are found by name only.

    Raises:
        OSError: No broker answers.
    """
    found = everything(brokers, names)
    return found if names else visible(found)


def everything(brokers: Brokers, names: Iterable[str] | None = None) -> dict[str, Topic]:
    """Return those of the topics that exist, without their settings; all if *None*.

    Kafka's own, and what stays of failed tests, are among them.
    """
    return described(brokers.metadata(None if names is None else sorted(set(names))))


def described(answer: Any) -> dict[str, Topic]:
    """Return the topics that an answer to a request for metadata tells of."""
    return {each.name: _topic(each) for each in answer.topics if not each.error_code}


def visible(found: Mapping[str, Topic]) -> dict[str, Topic]:
    """Return topics without Kafka's own, and without those that stay of failed tests."""
    return {name: each for name, each in found.items() if not name.startswith((INTERNAL, KEPT))}


def describe(brokers: Brokers, names: Collection[str]) -> dict[str, Topic]:
    """Return those of the topics that exist, with their settings."""
    found = find(brokers, names) if names else {}
    configs = own_configs(brokers, found)
    return {
        name: Topic(name, each.id, each.leaders, each.replicas, configs.get(name, {}))
        for name, each in found.items()
    }


def own_configs(brokers: Brokers, names: Collection[str]) -> dict[str, dict[str, str]]:
    """Return the settings that are set for topics themselves."""
    message = admin_messages.DescribeConfigsRequest
    asked = [
        message.DescribeConfigsResource(
            resource_type=_TOPIC, resource_name=name, configuration_keys=None
        )
        for name in names
    ]
    if not asked:
        return {}
    answer = brokers.ask(message(resources=asked, include_synonyms=False))
    return {
        each.resource_name: {
            config.name: config.value
            for config in each.configs
            if config.config_source == _SET_BY_TOPIC
        }
        for each in answer.results
        if not each.error_code
    }


def create(
    brokers: Brokers,
    topics: Mapping[str, tuple[int, int, Mapping[str, str]]],
    *,
    there: bool = False,
) -> dict[str, Topic]:
    """Create topics, and return them when they can be used.

    Args:
        brokers: Where.
        topics: Partitions, replicas (-1 for the broker's defaults) and settings by name.
        there: Whether a topic that is there already will do: another worker may create the same.
    """
    message = admin_messages.CreateTopicsRequest
    wanted = [
        message.CreatableTopic(
            name=name,
            num_partitions=partitions,
            replication_factor=replicas,
            assignments=[],
            configs=[
                message.CreatableTopic.CreatableTopicConfig(name=key, value=value)
                for key, value in configs.items()
            ],
        )
        for name, (partitions, replicas, configs) in topics.items()
    ]

    def work() -> tuple[dict[str, Topic]]:
        request = message(topics=wanted, timeout_ms=_TIMEOUT_MS, validate_only=False)
        answer, found = brokers.ask_together(
            [request, metadata_request(sorted(topics))], brokers.controller()
        )
        for each in answer.topics:
            if not (there and each.error_code == errors.TopicAlreadyExistsError.errno):
                require(each.error_code, each.error_message)
        return (described(found),)

    (found,) = wait_for(
        work, _WITHIN, ignore=NOT_YET, message=f"the creation of {', '.join(topics)}"
    )
    if found.keys() >= topics.keys() and all(each.is_led for each in found.values()):
        return found
    return wait_for_leaders(brokers, topics)


def create_missing(brokers: Brokers, names: Collection[str]) -> None:
    """Create those of the topics that are missing, as the broker's defaults say."""
    missing = set(names) - set(find(brokers, names) if names else ())
    if missing:
        create(brokers, dict.fromkeys(sorted(missing), (-1, -1, {})), there=True)


def make_anew(brokers: Brokers, topics: Collection[Topic]) -> dict[str, Topic]:
    """Delete topics, and create them again with as many partitions, and with their settings."""
    names = [each.name for each in topics]
    before = find(brokers, names)
    delete(brokers, names)
    wanted = {each.name: (len(each.leaders), each.replicas, each.configs) for each in topics}

    def created() -> dict[str, Topic]:
        return create(brokers, wanted)

    wait_for(created, _WITHIN, ignore=errors.TopicAlreadyExistsError, message="topics made anew")
    return wait_for_leaders(
        brokers, names, lambda topic: topic.name not in before or topic.id != before[topic.name].id
    )


def delete(brokers: Brokers, names: Collection[str]) -> None:
    """Delete topics; one that is gone already will do."""
    message = admin_messages.DeleteTopicsRequest
    request = message(
        topics=[message.DeleteTopicState(name=name) for name in names],
        topic_names=list(names),
        timeout_ms=_TIMEOUT_MS,
    )

    def work() -> bool:
        for each in brokers.ask(request, brokers.controller()).responses:
            if each.error_code != errors.UnknownTopicOrPartitionError.errno:
                require(each.error_code, f"{each.name}: {each.error_message}")
        return True

    if names:
        wait_for(work, _WITHIN, ignore=errors.NotControllerError, message="the end of topics")


def wait_for_leaders(
    brokers: Brokers, names: Collection[str], fits: Callable[[Topic], bool] = lambda topic: True
) -> dict[str, Topic]:
    """Return topics when they can be used."""

    def led() -> dict[str, Topic]:
        found = find(brokers, names)
        usable = {name: each for name, each in found.items() if each.is_led and fits(each)}
        return usable if usable.keys() >= set(names) else {}

    return wait_for(
        led,
        _WITHIN,
        interval=0.001,
        max_interval=0.02,
        message=f"leaders of {', '.join(names)}",
    )


def configure(
    brokers: Brokers, changes: Mapping[tuple[int, str], Mapping[str, str | None]]
) -> None:
    """Set settings of resources, by type and name; those that are None fall back to the default."""
    message = admin_messages.IncrementalAlterConfigsRequest
    for (kind, name), values in changes.items():
        configs = [
            message.AlterConfigsResource.AlterableConfig(
                name=key, config_operation=_DELETE if value is None else _SET, value=value
            )
            for key, value in values.items()
        ]
        resource = message.AlterConfigsResource(
            resource_type=kind, resource_name=name, configs=configs
        )
        node = int(name) if kind in _OF_A_NODE and name else None
        answer = brokers.ask(message(resources=[resource], validate_only=False), node)
        for each in answer.responses:
            require(each.error_code, each.error_message)


_OF_A_NODE = {4, 8}  # a broker's settings, and its loggers


def configure_as(brokers: Brokers, before: Mapping[str, Topic], after: Mapping[str, Topic]) -> None:
    """Give topics the settings that they had before."""
    changes = {
        (_TOPIC, name): difference(before[name].configs, topic.configs)
        for name, topic in after.items()
    }
    configure(brokers, {key: values for key, values in changes.items() if values})


def difference(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, str | None]:
    """Return what is to be set so that settings are again what they were."""
    changed = {name: value for name, value in before.items() if after.get(name) != value}
    return {**dict.fromkeys(after.keys() - before.keys()), **changed}


def offsets(brokers: Brokers, topics: Collection[Topic], at: int) -> dict[str, Offsets]:
    """Return where the records of topics begin or end, by partition.

    Args:
        brokers: Where.
        topics: The topics.
        at: `EARLIEST` or `LATEST`.
    """
    found: dict[str, Offsets] = {topic.name: {} for topic in topics}

    def fill(node: int, parts: Mapping[str, list[int]]) -> None:
        for name, some in told_offsets(brokers.ask(offsets_request(parts, at), node)).items():
            found[name] |= some

    by_leader(topics, fill)
    return {name: dict(sorted(each.items())) for name, each in found.items()}


def offsets_request(parts: Mapping[str, Iterable[int]], at: int) -> ApiMessage:
    """Return the request to a leader of partitions, by topic, for where they begin or end."""
    message = consumer_messages.ListOffsetsRequest
    part = message.ListOffsetsTopic.ListOffsetsPartition
    asked = [
        message.ListOffsetsTopic(
            name=name,
            partitions=[
                part(partition_index=each, current_leader_epoch=-1, timestamp=at)
                for each in partitions
            ],
        )
        for name, partitions in parts.items()
    ]
    return message(replica_id=-1, isolation_level=0, topics=asked, max_version=6)


def told_offsets(answer: Any) -> dict[str, Offsets]:
    """Return what an answer to `offsets_request` tells.

    Raises:
        kafka.errors.KafkaError: The broker refuses to tell of a partition.
    """
    found: dict[str, Offsets] = {}
    for topic in answer.topics:
        for each in topic.partitions:
            require(each.error_code, topic.name)
            found.setdefault(topic.name, {})[each.partition_index] = each.offset
    return found


def extents(brokers: Brokers, look: Callable[[], Mapping[str, Topic]]) -> Extents:
    """Return where the records of topics begin and end.

    A broker that has just been given a partition refuses to answer for it until it knows; then the
    topics are looked at again, too: they may have gone, or have another leader.

    Args:
        brokers: Where.
        look: Finds the topics.

    Raises:
        TimeoutError: A broker refuses for 10 s.
    """

    def ask() -> Extents:
        there = look()
        led = [topic for topic in there.values() if topic.is_led]
        return Extents(there, offsets(brokers, led, EARLIEST), offsets(brokers, led, LATEST))

    return wait_for(ask, _WITHIN, ignore=NOT_YET, message="the offsets of topics")


def delete_records(
    brokers: Brokers, topics: Iterable[Topic], ends: Mapping[str, Offsets]
) -> set[str]:
    """Delete the records of topics before some offsets.

    Returns:
        The topics of which the broker deletes none, as they are compacted, and only that.
    """
    message, refused = admin_messages.DeleteRecordsRequest, set[str]()

    def work(node: int, parts: Mapping[str, list[int]]) -> None:
        asked = [
            message.DeleteRecordsTopic(
                name=name,
                partitions=[
                    message.DeleteRecordsTopic.DeleteRecordsPartition(
                        partition_index=each, offset=ends[name][each]
                    )
                    for each in partitions
                ],
            )
            for name, partitions in parts.items()
        ]
        answer = brokers.ask(message(topics=asked, timeout_ms=_TIMEOUT_MS), node)
        for topic in answer.topics:
            for each in topic.partitions:
                if each.error_code == errors.PolicyViolationError.errno:
                    refused.add(topic.name)
                else:
                    require(each.error_code, topic.name)

    by_leader((topic for topic in topics if topic.name in ends), work)
    return refused


def by_leader(
    topics: Iterable[Topic], work: Callable[[int, Mapping[str, list[int]]], None]
) -> None:
    """Call *work* with each broker, and the partitions that it leads, by topic."""
    grouped: dict[int, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for topic in topics:
        for partition, leader in topic.leaders.items():
            grouped[leader][topic.name].append(partition)
    for leader, parts in grouped.items():
        work(leader, parts)


def _topic(described: Any) -> Topic:
    leaders = {each.partition_index: each.leader_id for each in described.partitions}
    replicas = max((len(each.replica_nodes) for each in described.partitions), default=1)
    return Topic(described.name, described.topic_id, dict(sorted(leaders.items())), replicas)
