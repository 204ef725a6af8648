"""Topics with fixed names: created if missing, emptied, and forgotten by every consumer group.

A group's committed offset outlives the records. Where it lies before what is kept, or beyond the
end of a topic that was made anew, a consumer goes by its ``auto.offset.reset``: with ``latest`` it
would miss records, with ``none`` it would fail. Without an offset the group is new to the topic, in
every test as in the first.
"""

from __future__ import annotations

from contextlib import closing
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pytest_berth.errors import IsolationError
from pytest_berth.services.kafka import names, urls
from pytest_berth.services.kafka.clients import Clients
from pytest_berth.services.kafka.coordinator import coordinated
from pytest_berth.services.kafka.library import (
    KafkaAdminClient,
    OffsetSpec,
    TopicPartition,
)
from pytest_berth.services.kafka.library import errors as kafka_errors
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from pytest_berth.service import Server
    from pytest_berth.services.kafka.reading import Offsets

_LED_WITHIN = 10.0
_GROUP_TYPES = {"classic", "consumer", ""}
_ALIVE = (
    kafka_errors.NoError,
    # A consumer that outlives the test keeps its place, which is no older than what is kept.
    kafka_errors.GroupSubscribedToTopicError,
)


def require_allowed(
    topics: Iterable[str], server: Server, run_id: str, allowed: Sequence[str]
) -> None:
    """Refuse to empty topics on a broker that is not ours, unless the settings name them.

    Raises:
        NotOursError: A topic is neither this run's nor allowed.
    """
    if server.source != "external":
        return
    for topic in topics:
        if not any(fnmatchcase(topic, pattern) for pattern in allowed):
            names.require_ours(topic, run_id)


def create(admin: KafkaAdminClient, topics: Collection[str]) -> None:
    """Create those of the topics that are missing, as the broker's defaults say."""
    missing = sorted(set(topics) - set(admin.list_topics()))
    if missing:
        # Another worker may be creating the same.
        admin.create_topics(missing, raise_errors=False)
        _wait_for_leaders(admin, missing)


def create_one(admin: KafkaAdminClient, topic: str, options: Mapping[str, object]) -> None:
    """Create a topic that is not there yet, with options of its own."""
    admin.create_topics({topic: options})
    _wait_for_leaders(admin, [topic])


def _wait_for_leaders(admin: KafkaAdminClient, topics: Collection[str]) -> None:
    """Wait until topics can be used; kafka-python's own wait looks ten times a second only."""
    wait_for(
        lambda: _all_led(admin, topics),
        _LED_WITHIN,
        interval=0.001,
        max_interval=0.02,
        ignore=kafka_errors.KafkaError,
        message=f"leaders of {', '.join(topics)}",
    )


def _all_led(admin: KafkaAdminClient, topics: Collection[str]) -> bool:
    described = admin.describe_topics(list(topics))
    led = {
        topic["name"]
        for topic in described
        if not topic["error_code"]
        and topic["partitions"]
        and all(not each["error_code"] and each["leader_id"] >= 0 for each in topic["partitions"])
    }
    return led >= set(topics)


def empty(admin: KafkaAdminClient, topics: Collection[str]) -> dict[str, Offsets]:
    """Delete all records of the topics, and every group's offsets in them; return their ends."""
    described = admin.describe_topics(sorted(topics))
    partitions = [
        TopicPartition(topic["name"], each["partition_index"])
        for topic in described
        for each in topic["partitions"]
    ]
    starts = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.EARLIEST))
    ends = admin.list_partition_offsets(dict.fromkeys(partitions, OffsetSpec.LATEST))
    filled = {
        each: ends[each].offset for each in partitions if ends[each].offset > starts[each].offset
    }
    if filled:
        _delete(admin, filled)
    _forget(admin, partitions)
    marks: dict[str, Offsets] = {topic: {} for topic in topics}
    for each in partitions:
        marks[each.topic][each.partition] = ends[each].offset
    return marks


def release(server: Server, run_id: str) -> None:
    """Delete the topics and groups of a run."""
    with closing(Clients(urls.bootstrap(server))) as clients:
        admin, prefix = clients.admin, names.run_prefix(run_id)
        topics = [topic for topic in admin.list_topics() if topic.startswith(prefix)]
        if topics:
            admin.delete_topics(topics, raise_errors=False)
        own = [group for group in groups(admin) if group.startswith(prefix)]
        if own:
            coordinated(lambda: admin.delete_groups(own))


def _delete(admin: KafkaAdminClient, filled: dict[TopicPartition, int]) -> None:
    try:
        admin.delete_records(filled)
    except kafka_errors.PolicyViolationError:
        topics = sorted({each.topic for each in filled})
        raise IsolationError(
            f"the records of {', '.join(topics)} cannot be deleted.",
            why="one of these topics is compacted (cleanup.policy=compact)",
            remedy="create it for tests with cleanup.policy=compact,delete,"
            " or use a topic of the test's own: kafka_probe.topic(config=...)",
        ) from None


def _forget(admin: KafkaAdminClient, partitions: Sequence[TopicPartition]) -> None:
    known = groups(admin)
    if not known:
        return
    asked = {group: list(partitions) for group in known}
    found = coordinated(lambda: admin.list_group_offsets(asked))
    for group, offsets in found.items():
        committed = [each for each, at in offsets.items() if at.offset >= 0]
        if committed:
            _forget_group(admin, group, committed)


def _forget_group(admin: KafkaAdminClient, group: str, committed: list[TopicPartition]) -> None:
    try:
        results = coordinated(lambda: admin.delete_group_offsets(group, committed))
    except (kafka_errors.GroupIdNotFoundError, kafka_errors.NonEmptyGroupError):
        return
    for partition, result in results.items():
        if result not in _ALIVE:
            raise IsolationError(
                f"the offset of the group {group!r} in {partition.topic} cannot be deleted.",
                why=result.__name__,
                remedy="end its consumers before the test ends",
            )


def groups(admin: KafkaAdminClient) -> list[str]:
    """Return the names of all consumer groups."""
    return [
        group["group_id"]
        for group in coordinated(admin.list_groups)
        if str(group.get("group_type", "")).lower() in _GROUP_TYPES
    ]
