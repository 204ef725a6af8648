"""What consumer groups have read: assignment, committed offsets, lag."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_berth.services.kafka.coordinator import coordinated
from pytest_berth.services.kafka.library import TopicPartition
from pytest_berth.services.kafka.library import errors as kafka_errors
from pytest_berth.services.kafka.reading import Reader

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.services.kafka.clients import Clients
    from pytest_berth.services.kafka.reading import Offsets

_READ_WITHIN = 10.0


@dataclass(frozen=True)
class Groups:
    """Looks at consumer groups from outside."""

    clients: Clients

    def assigned(self, group: str, topic: str | None) -> bool:
        """Tell whether a group has settled, and every partition of the topic has a consumer."""
        try:
            described = coordinated(lambda: self.clients.admin.describe_groups([group]))[group]
        except (KeyError, kafka_errors.GroupIdNotFoundError):
            return False
        if str(described["group_state"]).lower() != "stable":
            return False
        held = _held(described)
        if topic is None:
            return bool(held)
        wanted = {(topic, part) for part in Reader(self.clients.reader).partitions(topic)}
        return bool(wanted) and wanted <= held

    def committed(self, group: str, topic: str) -> Offsets:
        """Return the group's committed offsets in a topic; partitions without one are left out."""
        partitions = Reader(self.clients.reader).partitions(topic)
        wanted = [TopicPartition(topic, part) for part in partitions]
        if not wanted:
            return {}
        asked = {group: wanted}
        found = coordinated(lambda: self.clients.admin.list_group_offsets(asked)).get(group, {})
        return {each.partition: at.offset for each, at in found.items() if at.offset >= 0}

    def lag(self, group: str, topic: str, otherwise: Mapping[int, int]) -> int:
        """Return how many records of a topic a group has not committed yet.

        Records are counted, not offsets: transaction markers and aborted records take offsets that
        no consumer ever commits past until the next record comes.

        Args:
            group: The group.
            topic: The topic.
            otherwise: Where a partition begins for a group that has no offset there.
        """
        reader = Reader(self.clients.reader)
        starts, ends = reader.starts(topic), reader.ends(topic)
        committed = {**otherwise, **self.committed(group, topic)}
        offsets = {part: max(committed.get(part, at), at) for part, at in starts.items()}
        return len(reader.read_to(topic, offsets, ends, _READ_WITHIN))

    def reading(self, topic: str) -> list[str]:
        """Return the groups that have committed offsets in a topic."""
        listed = coordinated(self.clients.admin.list_groups)
        found = [group["group_id"] for group in listed]
        return sorted(group for group in found if self.committed(group, topic))


def _held(described: Mapping[str, object]) -> set[tuple[str, int]]:
    held: set[tuple[str, int]] = set()
    members = described["members"]
    assert isinstance(members, list)
    for member in members:
        assignment = member["member_assignment"]
        if not assignment:
            continue
        for topic, partitions in _pairs(assignment):
            held |= {(topic, part) for part in partitions}
    return held


def _pairs(assignment: object) -> list[tuple[str, list[int]]]:
    # kafka-python gives an object or a dict, as the protocol of the group is.
    if isinstance(assignment, dict):
        found = assignment.get("assigned_partitions") or assignment.get("topic_partitions") or []
    else:
        found = getattr(assignment, "assigned_partitions", [])
    pairs = []
    for entry in found:
        if isinstance(entry, dict):
            pairs.append((entry.get("topic") or entry["topic_name"], list(entry["partitions"])))
        elif isinstance(entry, tuple):
            pairs.append((entry[0], list(entry[1])))
        else:
            pairs.append((entry.topic, list(entry.partitions)))
    return pairs
