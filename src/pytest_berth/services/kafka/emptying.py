"""What tests can leave on a broker of ours, and taking it back, for the next run that uses it."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

from pytest_berth.services.kafka import cleaning, urls
from pytest_berth.services.kafka.clients import Clients
from pytest_berth.services.kafka.coordinator import coordinated
from pytest_berth.services.kafka.library import ConfigResource, ConfigResourceType
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from pytest_berth.service import Server
    from pytest_berth.services.kafka.library import KafkaAdminClient

_INTERNAL = "__"
_OFFSETS = "__consumer_offsets"
_DELETED_WITHIN = 10.0


def condition(server: Server) -> list[str]:
    """Describe the broker's topics, groups and settings."""
    with closing(Clients(urls.bootstrap(server))) as clients:
        return _condition(clients.admin)


def renew(server: Server) -> list[str]:
    """Delete all topics and groups, but for groups that have members.

    Returns:
        What there is now.
    """
    with closing(Clients(urls.bootstrap(server))) as clients:
        admin = clients.admin
        topics, groups = _topics(admin), _groups(admin)
        if groups:
            coordinated(lambda: admin.delete_groups(groups))
        if topics:
            admin.delete_topics(topics, raise_errors=False)
            wait_for(lambda: not _topics(admin), _DELETED_WITHIN, message="the end of all topics")
        return _condition(admin)


def _condition(admin: KafkaAdminClient) -> list[str]:
    found = [f"topic {name}" for name in _topics(admin)]
    found += [f"group {name}" for name in _groups(admin)]
    return sorted([*found, *_settings(admin)])


def _topics(admin: KafkaAdminClient) -> list[str]:
    return [name for name in admin.list_topics() if not name.startswith(_INTERNAL)]


def _groups(admin: KafkaAdminClient) -> list[str]:
    # A broker that was never asked for a group has no coordinator, which takes a while to come.
    return cleaning.groups(admin) if _OFFSETS in admin.list_topics() else []


def _settings(admin: KafkaAdminClient) -> list[str]:
    (broker,) = admin.describe_cluster()["brokers"]
    asked = ConfigResource(ConfigResourceType.BROKER, str(broker["broker_id"]))
    described = admin.describe_configs([asked])
    return [f"setting {name}" for each in described.values() for name in map(str, each.items())]
