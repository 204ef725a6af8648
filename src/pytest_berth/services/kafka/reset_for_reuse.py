"""What tests can leave on a broker of ours, and taking it back, for the next run that uses it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from pytest_berth.services.kafka import broker_state, kept_topics, topics, urls
from pytest_berth.services.kafka.brokers import Brokers
from pytest_berth.services.kafka.consumer_groups import Groups
from pytest_berth.waiting import wait_for, wall_clock

if TYPE_CHECKING:
    from pytest_berth.api import Server

_DELETED_WITHIN = 10.0


def condition(server: Server) -> list[str]:
    """Describe the broker's topics, groups and settings."""
    with closing(_brokers(server)) as brokers:
        return _condition(brokers)


def renew(server: Server) -> list[str]:
    """Delete all topics and groups, but for groups that have members.

    Returns:
        What there is now.

    Raises:
        ForeignBrokerError: Another broker answers in its place; nothing is done there.
    """
    with closing(_brokers(server)) as brokers:
        broker_state.catch_up(brokers)
        groups = Groups(brokers)
        groups.delete(groups.all())
        over = kept_topics.over(brokers, wall_clock())
        topics.delete(brokers, [*topics.find(brokers), *over])
        wait_for(lambda: not topics.find(brokers), _DELETED_WITHIN, message="the end of all topics")
        return _condition(brokers)


def discard_kept(server: Server, name: str) -> None:
    """Delete a topic with the records of a failed test."""
    with closing(_brokers(server)) as brokers:
        kept_topics.discard(brokers, name)


def _brokers(server: Server) -> Brokers:
    return Brokers(urls.bootstrap(server), server.credentials.database)


def _condition(brokers: Brokers) -> list[str]:
    found = [f"topic {name}" for name in topics.find(brokers)]
    found += [f"group {name}" for name in Groups(brokers).all()]
    return sorted([*found, *broker_state.look(brokers).lines()])
