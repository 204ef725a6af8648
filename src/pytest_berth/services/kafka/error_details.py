"""What a broker knows of an error: which topics there are, its limits, the state of a group.

The errors of kafka-python, aiokafka and confluent-kafka have names of their own for what the broker
says. Which topic it was about is in the frames that the error has come through, or in its text;
what confluent-kafka does in C has neither.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from pytest_berth.errors import causes
from pytest_berth.services.kafka import topics, transactions
from pytest_berth.services.kafka.consumer_groups import Groups
from pytest_berth.services.kafka.kafka_python import admin_messages

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pytest_berth.services.kafka.brokers import Brokers

_LIBRARIES = ("kafka.", "aiokafka.", "confluent_kafka.", "pytest_berth.services.kafka.")
_NAMED = re.compile(r"topic(?: not available:)? '([\w.-]+)'|topic not available: ([\w.-]+)", re.I)
_BROKER, _TOPIC = 4, 2
_NEAREST, _MOST_LISTED = 3, 10
_MOST_TOPICS = 3


@dataclass(frozen=True)
class Asked:
    """What is asked about an error.

    Attributes:
        brokers: Where.
        is_ours: Whether a topic is the worker's.
        topics: The topics that it was about, as far as they are known.
        groups: The groups that it was about.
    """

    brokers: Brokers
    is_ours: Callable[[str], bool]
    topics: list[str]
    groups: list[str]


def find(error: BaseException) -> BaseException | None:
    """Return the error of a client of Kafka that a test has failed with, or its cause."""
    found = (each for each in causes(error) if _tell(each))
    return next(found, None)


def lines(brokers: Brokers, error: BaseException, is_ours: Callable[[str], bool]) -> list[str]:
    """Return what the broker knows of such an error."""
    tell = _tell(error)
    return list(tell(Asked(brokers, is_ours, *_about(error)))) if tell else []


def _tell(error: BaseException) -> Callable[[Asked], Iterator[str]] | None:
    return next((_TELLS[name] for name in _names(error) if name in _TELLS), None)


def _names(error: BaseException) -> Iterator[str]:
    """Yield what an error is called: by its class, or by confluent-kafka's code."""
    if not any(kind.__module__.startswith(_LIBRARIES) for kind in _kinds(error)):
        return
    yield from (kind.__name__ for kind in type(error).__mro__)
    for each in (error, *error.args):
        if callable(name := getattr(each, "name", None)) and isinstance(told := name(), str):
            yield told


def _kinds(error: BaseException) -> Iterator[type]:
    yield from type(error).__mro__
    yield from map(type, error.args)


def _about(error: BaseException) -> tuple[list[str], list[str]]:
    """Return the topics and the groups that the frames and the text of an error name."""
    found_topics, found_groups = dict[str, None](), dict[str, None]()
    trace = error.__traceback__
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        if frame.f_globals.get("__name__", "").startswith(_LIBRARIES):
            values = frame.f_locals
            found_topics |= dict.fromkeys(_topics_in(values))
            config = getattr(values.get("self"), "config", None)
            group = config.get("group_id") if isinstance(config, dict) else None
            if isinstance(group, str):
                found_groups[group] = None
    found_topics |= dict.fromkeys(one or other for one, other in _NAMED.findall(str(error)))
    return list(found_topics)[:_MOST_TOPICS], list(found_groups)


def _topics_in(values: Mapping[str, Any]) -> Iterator[str]:
    for name in ("topic", "tp", "partition", "topic_partition", "topics"):
        value = values.get(name)
        for each in value if isinstance(value, list | tuple | set | frozenset) else (value,):
            topic = getattr(each, "topic", each)
            if isinstance(topic, str):
                yield topic


def _unknown_topic(asked: Asked) -> Iterator[str]:
    there = topics.find(asked.brokers)
    own = sorted(filter(asked.is_ours, there))
    for name in asked.topics:
        if name in there:
            yield f"topic {name} is there: its partitions are {sorted(there[name].leaders)}"
        else:
            like = get_close_matches(name, own, _NEAREST)
            yield f"there is no topic {name!r}" + (f"; there is: {', '.join(like)}" * bool(like))
    if not all(name in there for name in asked.topics or [""]):
        yield f"topics of this run: {', '.join(own[:_MOST_LISTED]) or 'none'}"
        found = _settings(asked.brokers, _BROKER, "auto.create.topics.enable")
        if found.get("auto.create.topics.enable") == "false":
            yield "the broker creates none by itself: auto.create.topics.enable = false"


def _too_large(asked: Asked) -> Iterator[str]:
    for name in asked.topics:
        limit = _settings(asked.brokers, _TOPIC, "max.message.bytes", name=name)
        if limit:
            most = limit["max.message.bytes"]
            yield f"topic {name} takes {most} bytes at most (max.message.bytes)"
    limit = _settings(asked.brokers, _BROKER, "message.max.bytes")
    if limit:
        yield f"topics without a limit of their own take {limit['message.max.bytes']} bytes at most"


def _timeout(asked: Asked) -> Iterator[str]:
    there = topics.find(asked.brokers)
    if not all(name in there for name in asked.topics):
        yield from _unknown_topic(asked)
    else:
        yield "the broker answers berth"


def _exists(asked: Asked) -> Iterator[str]:
    for name, topic in topics.find(asked.brokers, asked.topics).items():
        yield f"topic {name} is there already, with {len(topic.leaders)} partitions"


def _offsets(asked: Asked) -> Iterator[str]:
    extents = topics.extents(
        asked.brokers, lambda: topics.find(asked.brokers, asked.topics) if asked.topics else {}
    )
    for name, parts in extents.starts.items():
        for part, at in parts.items():
            end = extents.ends[name][part]
            yield f"topic {name}, partition {part}: from {at}, the next to come is {end}"
    yield from _group(asked)


def _group(asked: Asked) -> Iterator[str]:
    groups = Groups(asked.brokers)
    yield from (groups.look(name) for name in asked.groups)


def _replicas(asked: Asked) -> Iterator[str]:
    count = len(asked.brokers.nodes())
    yield f"the cluster has {count} broker{'s' * (count != 1)}"
    for name in asked.topics:
        found = _settings(asked.brokers, _TOPIC, "min.insync.replicas", name=name)
        yield from (f"topic {name}: {key} = {value}" for key, value in found.items())


def _transactions(asked: Asked) -> Iterator[str]:
    for name, written in transactions.find_open(asked.brokers).items():
        if all(map(asked.is_ours, written)):
            yield f"the transaction of {name!r} is open, in {', '.join(written) or 'no topic'}"


# The classes of kafka-python and aiokafka, and the codes of confluent-kafka.
_NAMES: dict[Callable[[Asked], Iterator[str]], str] = {
    _unknown_topic: "UnknownTopicOrPartitionError InvalidTopicError UNKNOWN_TOPIC_OR_PART"
    " _UNKNOWN_TOPIC _UNKNOWN_PARTITION TOPIC_EXCEPTION",
    _too_large: "MessageSizeTooLargeError RecordListTooLargeError RecordTooLargeError"
    " MSG_SIZE_TOO_LARGE RECORD_LIST_TOO_LARGE",
    _timeout: "KafkaTimeoutError RequestTimedOutError _MSG_TIMED_OUT _TIMED_OUT",
    _exists: "TopicAlreadyExistsError TOPIC_ALREADY_EXISTS",
    _offsets: "OffsetOutOfRangeError NoOffsetForPartitionError OFFSET_OUT_OF_RANGE"
    " _AUTO_OFFSET_RESET _NO_OFFSET",
    _group: "CommitFailedError UnknownMemberIdError IllegalGenerationError NonEmptyGroupError"
    " RebalanceInProgressError FencedInstanceIdError GroupIdNotFoundError UNKNOWN_MEMBER_ID"
    " ILLEGAL_GENERATION",
    _replicas: "NotEnoughReplicasError InvalidReplicationFactorError NOT_ENOUGH_REPLICAS"
    " INVALID_REPLICATION_FACTOR",
    _transactions: "ProducerFencedError ProducerFenced InvalidProducerEpochError _FENCED"
    " InvalidTxnStateError ConcurrentTransactionsError INVALID_PRODUCER_EPOCH",
}
_TELLS = {name: tell for tell, names in _NAMES.items() for name in names.split()}


def _settings(brokers: Brokers, kind: int, *keys: str, name: str = "") -> dict[str, str]:
    """Return settings of a topic, or of a broker, those that are the default, too."""
    node = brokers.nodes()[0] if kind == _BROKER else None
    message = admin_messages.DescribeConfigsRequest
    resource = message.DescribeConfigsResource(
        resource_type=kind,
        resource_name=str(node) if kind == _BROKER else name,
        configuration_keys=list(keys),
    )
    answer = brokers.ask(message(resources=[resource], include_synonyms=False), node)
    return {
        each.name: each.value
        for found in answer.results
        if not found.error_code
        for each in found.configs
    }
