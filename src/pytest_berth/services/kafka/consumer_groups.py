"""Consumer groups: their members and partitions, what they have committed, and what they lag.

Until the first group of a cluster has come, there is no coordinator, and questions about groups are
refused: they are answered here by the absence of the topic that coordinators keep offsets in.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_berth.errors import IsolationError
from pytest_berth.services.kafka.connection import require
from pytest_berth.services.kafka.group_coordinator import coordinated
from pytest_berth.services.kafka.kafka_python import (
    ConsumerProtocolAssignment,
    admin_messages,
    consumer_messages,
    errors,
)
from pytest_berth.services.kafka.messages import ConsumerGroupDescribeRequest
from pytest_berth.services.kafka.topic_reader import Reader

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from pytest_berth.services.kafka.brokers import Brokers
    from pytest_berth.services.kafka.topics import Offsets

OFFSETS_TOPIC = "__consumer_offsets"
_CLASSIC, _CONSUMER = "classic", "consumer"
_READ_WITHIN = 10.0
_SEVERAL_AT_ONCE = 8  # the first version of OffsetFetch that takes several groups
_ENDED = {"empty", "dead"}
Partitions = set[tuple[str, int]]


@dataclass(frozen=True)
class Group:
    """A consumer group.

    Attributes:
        name: Its name.
        kind: Its protocol: ``classic``, ``consumer``, ``share``, ``streams``; empty if unknown.
        state: Its state, such as ``stable``; in small letters.
        members: What each of its consumers holds, by client.
    """

    name: str
    kind: str = ""
    state: str = ""
    members: tuple[tuple[str, frozenset[tuple[str, int]]], ...] = ()

    @property
    def has_ended(self) -> bool:
        """Whether nobody is in it any more."""
        return self.state in _ENDED

    @property
    def has_offsets(self) -> bool:
        """Whether it commits offsets of topics, as groups for sharing a topic do not."""
        return self.kind in {_CLASSIC, _CONSUMER, ""}

    @property
    def held(self) -> Partitions:
        """The partitions that its consumers have."""
        return {each for _, partitions in self.members for each in partitions}

    def __str__(self) -> str:
        """Return its protocol, its state and its members."""
        head = f"the group {self.name!r} (protocol {self.kind or 'unknown'}) is {self.state}"
        members = [f"{client} has {_spelt(held)}" for client, held in self.members]
        return f"{head}; {', '.join(members) or 'no consumer is in it'}"


class Lag(int):
    """A number of records that also tells, where it is shown, that there is no such group."""

    unknown: str = ""

    @classmethod
    def of(cls, number: int, unknown: str) -> Lag:
        """Return the number, with what is to be told of the group."""
        lag = cls(number)
        lag.unknown = unknown
        return lag

    def __repr__(self) -> str:
        """Return the number, and that the group is not known."""
        return f"{int(self)} ({self.unknown})" if self.unknown else f"{int(self)}"


@dataclass(frozen=True)
class Groups:
    """Looks at consumer groups from outside.

    Attributes:
        brokers: Where.
        have_come: Whether there has ever been a group; None where that is to be asked.
    """

    brokers: Brokers
    have_come: bool | None = None
    _there: list[bool] = field(default_factory=list, init=False, repr=False)

    def all(self) -> dict[str, Group]:
        """Return all groups, without their members."""
        if not self._have_come():
            return {}
        found = {}
        for node in self.brokers.nodes():
            for each in coordinated(lambda node=node: self._list(node)):  # type: ignore[misc]  # node is bound
                kind, state = (each.group_type or "").lower(), (each.group_state or "").lower()
                found[each.group_id] = Group(each.group_id, kind, state)
        return found

    def find(self, name: str) -> Group | None:
        """Return a group with its members; None where there is no such group."""
        listed = self.all().get(name)
        if listed is None or not listed.has_offsets:
            return listed
        try:
            return self._describe(listed)
        except errors.GroupIdNotFoundError:
            return None

    def assigned(self, name: str, topic: str | None) -> bool:
        """Tell whether a group has settled, and every partition of the topic has a consumer."""
        found = self.find(name)
        if found is None or found.state != "stable":
            return False
        if topic is None:
            return bool(found.held)
        wanted = {(topic, part) for part in Reader(self.brokers).partitions(topic)}
        return bool(wanted) and wanted <= found.held

    def look(self, name: str) -> str:
        """Describe a group in words, or say which groups there are in its place."""
        found = self.find(name)
        return str(found) if found else self.missing(name)

    def missing(self, name: str) -> str:
        """Say that there is no such group, and which there are; empty where it is there."""
        known = sorted(self.all())
        if name in known:
            return ""
        return f"there is no group {name!r}; there are: {', '.join(known) or 'none'}"

    def committed(self, name: str, topic: str) -> Offsets:
        """Return the group's committed offsets in a topic; partitions without one are left out."""
        partitions = Reader(self.brokers).partitions(topic)
        if not partitions or not self._have_come():
            return {}
        found = self.commits([name], {topic: partitions})
        return {part: at for (_, part), at in sorted(found.get(name, {}).items())}

    def lag(self, name: str, topic: str, otherwise: Mapping[int, int]) -> Lag:
        """Return how many records of a topic a group has not committed yet.

        Records are counted, not offsets: transaction markers and aborted records take offsets that
        no consumer ever commits past until the next record comes.

        Args:
            name: The group.
            topic: The topic.
            otherwise: Where a partition begins for a group that has no offset there.
        """
        reader = Reader(self.brokers)
        starts, ends = reader.starts(topic), reader.ends(topic)
        known = self.committed(name, topic)
        begins = {**otherwise, **known}
        offsets = {part: max(begins.get(part, at), at) for part, at in starts.items()}
        number = len(reader.read_to(topic, offsets, ends, _READ_WITHIN))
        return Lag.of(number, "" if known else self.missing(name))

    def reading(self, topic: str) -> list[str]:
        """Return the groups that have committed offsets in a topic."""
        partitions = Reader(self.brokers).partitions(topic)
        found = self.commits(self._with_offsets(), {topic: partitions})
        return sorted(name for name, offsets in found.items() if offsets)

    def forget(self, topics: Mapping[str, list[int]]) -> None:
        """Delete what groups have committed in topics.

        A consumer that is there yet keeps its place, which is no older than what is kept.

        Raises:
            IsolationError: The broker refuses it.
        """
        names = self._with_offsets()
        for name, offsets in self.commits(names, topics).items():
            if offsets:
                self._forget(name, offsets.keys())

    def delete(self, names: Iterable[str]) -> None:
        """Delete groups; one that has consumers stays."""
        for node, own in self._by_coordinator(names).items():
            coordinated(lambda node=node, own=own: self._delete(node, own))  # type: ignore[misc]  # both are bound

    def commits(
        self, names: Collection[str], topics: Mapping[str, list[int]]
    ) -> dict[str, dict[tuple[str, int], int]]:
        """Return the offsets that groups have committed in partitions of topics."""
        found: dict[str, dict[tuple[str, int], int]] = {}
        if topics:
            for node, own in self._by_coordinator(names).items():
                found |= coordinated(lambda node=node, own=own: self._fetch(node, own, topics))  # type: ignore[misc]  # both are bound
        return found

    def _have_come(self) -> bool:
        if self.have_come is not None:
            return self.have_come
        if not self._there:
            (described,) = self.brokers.metadata([OFFSETS_TOPIC]).topics
            if described.error_code:
                return False
            self._there.append(True)
        return True

    def _with_offsets(self) -> list[str]:
        return [name for name, group in self.all().items() if group.has_offsets]

    def _by_coordinator(self, names: Iterable[str]) -> dict[int, list[str]]:
        grouped: dict[int, list[str]] = defaultdict(list)
        nodes = self.brokers.nodes()
        for name in names:
            node = nodes[0] if len(nodes) == 1 else self.brokers.coordinator(name)
            grouped[node].append(name)
        return grouped

    def _list(self, node: int) -> Any:
        answer = self.brokers.ask(admin_messages.ListGroupsRequest(), node)
        require(answer.error_code)
        return answer.groups

    def _describe(self, listed: Group) -> Group:
        (node,) = self._by_coordinator([listed.name])
        if listed.kind == _CONSUMER:
            request = ConsumerGroupDescribeRequest(
                group_ids=[listed.name], include_authorized_operations=False
            )
            members = _members_of_consumer_group
        else:
            request = admin_messages.DescribeGroupsRequest(groups=[listed.name])
            members = _members_of_classic_group

        def ask() -> Any:
            (described,) = self.brokers.ask(request, node).groups
            require(described.error_code, listed.name)
            return described

        described = coordinated(ask)
        state = described.group_state.lower()
        return Group(listed.name, listed.kind or _CLASSIC, state, members(described))

    def _delete(self, node: int, names: list[str]) -> None:
        request = admin_messages.DeleteGroupsRequest(groups_names=names)
        for each in self.brokers.ask(request, node).results:
            if errors.for_code(each.error_code) not in _LEFT_ALONE:
                require(each.error_code, each.group_id)

    def _fetch(
        self, node: int, names: list[str], topics: Mapping[str, list[int]]
    ) -> dict[str, dict[tuple[str, int], int]]:
        message = consumer_messages.OffsetFetchRequest
        asked = [
            message.OffsetFetchRequestGroup.OffsetFetchRequestTopics(
                name=name, partition_indexes=partitions
            )
            for name, partitions in topics.items()
        ]
        groups = [
            message.OffsetFetchRequestGroup(
                group_id=name, member_id=None, member_epoch=-1, topics=asked
            )
            for name in names
        ]
        request = message(
            groups=groups, require_stable=False, min_version=_SEVERAL_AT_ONCE, max_version=9
        )
        try:
            answers = self.brokers.ask(request, node).groups
        except errors.IncompatibleBrokerVersion:
            answers = [self._fetch_one(node, name, topics) for name in names]
        for each in answers:
            if errors.for_code(each.error_code) is not errors.GroupIdNotFoundError:
                require(each.error_code)
        return {name: _offsets(each) for name, each in zip(names, answers, strict=True)}

    def _fetch_one(self, node: int, name: str, topics: Mapping[str, list[int]]) -> Any:
        message = consumer_messages.OffsetFetchRequest
        asked = [
            message.OffsetFetchRequestTopic(name=topic, partition_indexes=partitions)
            for topic, partitions in topics.items()
        ]
        return self.brokers.ask(
            message(group_id=name, topics=asked, require_stable=False, max_version=7), node
        )

    def _forget(self, name: str, partitions: Iterable[tuple[str, int]]) -> None:
        message = consumer_messages.OffsetDeleteRequest
        by_topic: dict[str, list[Any]] = defaultdict(list)
        kind = message.OffsetDeleteRequestTopic
        for topic, part in partitions:
            by_topic[topic].append(kind.OffsetDeleteRequestPartition(partition_index=part))
        asked = [kind(name=topic, partitions=parts) for topic, parts in by_topic.items()]
        (node,) = self._by_coordinator([name])
        answer = coordinated(
            lambda: self._delete_offsets(message(group_id=name, topics=asked), node)
        )
        if answer is None:
            return
        for topic in answer.topics:
            for each in topic.partitions:
                problem = errors.for_code(each.error_code)
                if problem not in _LEFT_ALONE:
                    raise IsolationError(
                        f"the offset of the group {name!r} in {topic.name} cannot be deleted.",
                        why=problem.__name__,
                        remedy="end its consumers before the test ends",
                    )

    def _delete_offsets(self, request: Any, node: int) -> Any:
        answer = self.brokers.ask(request, node)
        if errors.for_code(answer.error_code) in _LEFT_ALONE and answer.error_code:
            return None
        require(answer.error_code)
        return answer


_LEFT_ALONE = {
    errors.NoError,
    errors.GroupIdNotFoundError,
    errors.NonEmptyGroupError,
    errors.GroupSubscribedToTopicError,
    errors.UnknownTopicOrPartitionError,
}


def _members_of_classic_group(
    described: Any,
) -> tuple[tuple[str, frozenset[tuple[str, int]]], ...]:
    return tuple((each.client_id, frozenset(_decoded(each))) for each in described.members)


def _decoded(member: Any) -> Partitions:
    if not member.member_assignment:
        return set()
    try:
        found = ConsumerProtocolAssignment.decode(bytes(member.member_assignment))
    except (ValueError, IndexError):
        return set()  # of a framework of its own, such as Connect
    return {(topic, part) for topic, parts in _pairs(found.assigned_partitions) for part in parts}


def _pairs(assigned: Iterable[Any]) -> list[tuple[str, list[int]]]:
    return [(each.topic, list(each.partitions)) for each in assigned]


def _members_of_consumer_group(
    described: Any,
) -> tuple[tuple[str, frozenset[tuple[str, int]]], ...]:
    return tuple(
        (
            each.client_id,
            frozenset(
                (topic.topic_name, part)
                for topic in each.assignment.topic_partitions
                for part in topic.partitions
            ),
        )
        for each in described.members
    )


def _offsets(answer: Any) -> dict[tuple[str, int], int]:
    return {
        (topic.name, each.partition_index): each.committed_offset
        for topic in answer.topics
        for each in topic.partitions
        if each.committed_offset >= 0
    }


def _spelt(partitions: Collection[tuple[str, int]]) -> str:
    return ", ".join(f"{topic}-{part}" for topic, part in sorted(partitions)) or "no partition"
