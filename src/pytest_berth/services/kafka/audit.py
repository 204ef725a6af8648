"""What tests can break on a broker, for ``--berth-audit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.services.kafka import broker_state, topics
from pytest_berth.services.kafka.consumer_groups import Groups
from pytest_berth.shown_values import masked, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from pytest_berth.services.kafka.brokers import Brokers
    from pytest_berth.services.kafka.topics import Topic

Found = dict[str, "str | None"]


def of_worker(brokers: Brokers, is_own: Callable[[str], bool], spared: Collection[str]) -> Found:
    """Return a worker's topics, with partitions, records and settings, and its consumer groups.

    Args:
        brokers: The cluster.
        is_own: Tells by its name whether a topic or a group is the worker's.
        spared: Topics that are deleted later.
    """
    extents = topics.extents(
        brokers, lambda: _topics(brokers, lambda name: is_own(name) and name not in spared)
    )
    there = extents.topics
    found: Found = {f"records in topic {name}": None for name in there}
    for name, at in extents.ends.items():
        records = sum(end - extents.starts[name][part] for part, end in at.items())
        found[f"records in topic {name}"] = f"{records} of them"
    found |= {f"group {name}": "" for name in Groups(brokers).all() if is_own(name)}
    return found | _described(there)


def of_broker(brokers: Brokers, is_shared: Callable[[str], bool]) -> Found:
    """Return what brokers are set to, and what shared topics are like: records come and go."""
    there = _topics(brokers, is_shared)
    return _described(there) | {masked(line): "" for line in broker_state.look(brokers).lines()}


def _topics(brokers: Brokers, is_meant: Callable[[str], bool]) -> dict[str, Topic]:
    return topics.describe(brokers, [name for name in topics.find(brokers) if is_meant(name)])


def _described(there: Mapping[str, Topic]) -> Found:
    found: Found = {}
    for name, topic in there.items():
        found[f"topic {name}"] = f"partitions: {len(topic.leaders)}"
        for key, value in topic.configs.items():
            found[f"setting {key} of topic {name}"] = shown(value, name=key)
    return found
