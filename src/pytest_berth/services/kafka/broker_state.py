"""What tests can change on a broker beside topics and groups, and the way back.

These are settings of brokers, loggers, groups and of clients' metrics, quotas, ACLs, and users with
SCRAM. What an earlier version of the broker does not know of cannot be changed there either.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_berth.debug_log import debug
from pytest_berth.services.kafka import topics
from pytest_berth.services.kafka.connection import require
from pytest_berth.services.kafka.kafka_python import admin_messages, errors
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pytest_berth.services.kafka.brokers import Brokers
    from pytest_berth.services.kafka.kafka_python import ApiMessage

_BROKER, _LOGGER, _METRICS, _GROUP = 4, 8, 16, 32
# Where a setting was set: while the broker ran, or as the default of all brokers; a logger's level.
_SET_LATER = {2, 3, 6, 7, 8}
_ANY, _ANY_PATTERN = 1, 1
_CAUGHT_UP_WITHIN = 10.0
_NUMBERS = itertools.count()
Entity = tuple[tuple[str, str | None], ...]
_OURS = "berth-catches-up-"
_LIMIT = {"producer_byte_rate": float(1 << 40)}  # bytes per second, so that nobody is slowed down
_METADATA = "__cluster_metadata"
Acl = tuple[int, str, int, str, str, int, int]


@dataclass(frozen=True)
class BrokerState:
    """What a cluster's brokers are set to.

    Attributes:
        configs: Settings by type and name of what has them.
        quotas: Limits by whom they are for.
        acls: Who may do what; None where the broker asks nobody.
        users: Rounds of hashing by user and mechanism.
    """

    configs: Mapping[tuple[int, str], Mapping[str, str]] = field(default_factory=dict)
    quotas: Mapping[Entity, Mapping[str, float]] = field(default_factory=dict)
    acls: frozenset[Acl] | None = None
    users: Mapping[tuple[str, int], int] = field(default_factory=dict)

    def lines(self) -> list[str]:
        """Return a line for each of these things."""
        found = [
            f"setting {kind} {name} {key}={value}"
            for (kind, name), values in self.configs.items()
            for key, value in values.items()
        ]
        found += [
            f"quota {entity} {key}={value}"
            for entity, values in self.quotas.items()
            for key, value in values.items()
        ]
        found += [f"acl {acl}" for acl in self.acls or ()]
        return sorted([*found, *(f"user {user} {rounds}" for user, rounds in self.users.items())])


def look(brokers: Brokers) -> BrokerState:
    """Return what the brokers are set to now."""
    return BrokerState(_configs(brokers), _quotas(brokers), _acls(brokers), _users(brokers))


def put_back(brokers: Brokers, before: BrokerState) -> list[str]:
    """Set everything to what it was, and return what that is not possible for."""
    after = look(brokers)
    if after == before:
        return []
    changes = {
        key: topics.difference(before.configs.get(key, {}), after.configs.get(key, {}))
        for key in {**before.configs, **after.configs}
    }
    topics.configure(brokers, {key: values for key, values in changes.items() if values})
    _put_back_quotas(brokers, before.quotas, after.quotas)
    _put_back_acls(brokers, before.acls or frozenset(), after.acls or frozenset())
    return _put_back_users(brokers, before.users, after.users)


def position(brokers: Brokers) -> int:
    """Return how much the controller has written down, of whatever changes; -1 if unknown.

    Where the broker is not set as those of berth are, it also writes twice a second that there is
    nothing new.
    """
    answer = _asked(brokers, position_request())
    return -1 if answer is None else told_position(answer)


def written_for(created: Iterable[topics.Topic]) -> int:
    """Return how far `position` moves as topics are made: by each of them and its partitions."""
    return sum(1 + len(topic.leaders) for topic in created)


def position_request() -> ApiMessage:
    """Return the request for `position`."""
    message = admin_messages.DescribeQuorumRequest
    parts = [message.TopicData.PartitionData(partition_index=0)]
    return message(topics=[message.TopicData(topic_name=_METADATA, partitions=parts)])


def told_position(answer: Any) -> int:
    """Return what an answer to `position_request` tells."""
    if answer.error_code:
        return -1
    (written,) = (each.high_watermark for topic in answer.topics for each in topic.partitions)
    return int(written)


def catch_up(brokers: Brokers) -> None:
    """Wait until the brokers of a cluster of ours have seen all that was changed before this call.

    A controller answers when a change is written; brokers learn of it, in the same order, a
    moment later. What is written here, a limit for a client that is not there, they have seen then.
    Each call has a client of its own: other workers call this at the same time.
    """
    entity: Entity = (("client-id", f"{_OURS}{os.getpid()}-{next(_NUMBERS)}"),)
    try:
        _put_back_quotas(brokers, {entity: _LIMIT}, {})
    except errors.IncompatibleBrokerVersion as error:
        debug("the broker knows no quotas to be waited for: %s", error)
        return
    try:
        wait_for(
            lambda: entity in _all_quotas(brokers),
            _CAUGHT_UP_WITHIN,
            interval=0.0005,
            max_interval=0.02,
            message="the broker's view of the cluster",
        )
    finally:
        _put_back_quotas(brokers, {}, {entity: _LIMIT})


def _configs(brokers: Brokers) -> dict[tuple[int, str], dict[str, str]]:
    message = admin_messages.DescribeConfigsRequest
    found: dict[tuple[int, str], dict[str, str]] = {}
    for node in brokers.nodes():
        asked = [(_BROKER, str(node)), (_BROKER, ""), (_LOGGER, str(node)), *_resources(brokers)]
        resources = [
            message.DescribeConfigsResource(
                resource_type=kind, resource_name=name, configuration_keys=None
            )
            for kind, name in asked
        ]
        answer = brokers.ask(message(resources=resources, include_synonyms=False), node)
        for each in answer.results:
            if not each.error_code:
                found[each.resource_type, each.resource_name] = _set_later(each)
    return found


def _set_later(described: Any) -> dict[str, str]:
    return {
        each.name: each.value
        for each in described.configs
        if each.config_source in _SET_LATER and not each.read_only
    }


def _resources(brokers: Brokers) -> list[tuple[int, str]]:
    """Return what else has settings: groups, and subscriptions to clients' metrics."""
    request = admin_messages.ListConfigResourcesRequest(
        resource_types=[_METRICS, _GROUP], min_version=1
    )
    answer = _asked(brokers, request)
    if answer is None or answer.error_code:
        return []
    return [(each.resource_type, each.resource_name) for each in answer.config_resources]


def _quotas(brokers: Brokers) -> dict[Entity, dict[str, float]]:
    found = _all_quotas(brokers)
    return {entity: limits for entity, limits in found.items() if not _is_ours(entity)}


def _is_ours(entity: Entity) -> bool:
    return any((name or "").startswith(_OURS) for _, name in entity)


def _all_quotas(brokers: Brokers) -> dict[Entity, dict[str, float]]:
    request = admin_messages.DescribeClientQuotasRequest(components=[], strict=False)
    answer = _asked(brokers, request)
    if answer is None or answer.error_code:
        return {}
    return {
        tuple(sorted((each.entity_type, each.entity_name) for each in entry.entity)): {
            each.key: each.value for each in entry.values
        }
        for entry in answer.entries or ()
    }


def _put_back_quotas(
    brokers: Brokers,
    before: Mapping[Entity, Mapping[str, float]],
    after: Mapping[Entity, Mapping[str, float]],
) -> None:
    message = admin_messages.AlterClientQuotasRequest.EntryData
    entries = []
    for entity in {**before, **after}:
        old, new = before.get(entity, {}), after.get(entity, {})
        ops = [
            message.OpData(key=key, value=old.get(key, 0.0), remove=key not in old)
            for key in {**old, **new}
            if old.get(key) != new.get(key)
        ]
        whom = [message.EntityData(entity_type=kind, entity_name=name) for kind, name in entity]
        if ops:
            entries.append(message(entity=whom, ops=ops))
    if entries:
        request = admin_messages.AlterClientQuotasRequest(entries=entries, validate_only=False)
        for each in brokers.ask(request, brokers.controller()).entries:
            require(each.error_code, each.error_message)


def _acls(brokers: Brokers) -> frozenset[Acl] | None:
    request = admin_messages.DescribeAclsRequest(
        resource_type_filter=_ANY,
        resource_name_filter=None,
        pattern_type_filter=_ANY_PATTERN,
        principal_filter=None,
        host_filter=None,
        operation=_ANY,
        permission_type=_ANY,
    )
    answer = _asked(brokers, request)
    if answer is None or answer.error_code:
        return None
    return frozenset(
        (
            resource.resource_type,
            resource.resource_name,
            resource.pattern_type,
            each.principal,
            each.host,
            each.operation,
            each.permission_type,
        )
        for resource in answer.resources
        for each in resource.acls
    )


def _put_back_acls(brokers: Brokers, before: frozenset[Acl], after: frozenset[Acl]) -> None:
    if before - after:
        creation = admin_messages.CreateAclsRequest.AclCreation
        lost = [creation(*each, version=1) for each in before - after]
        for each in brokers.ask(
            admin_messages.CreateAclsRequest(creations=lost), brokers.controller()
        ).results:
            require(each.error_code, each.error_message)
    if after - before:
        wanted = admin_messages.DeleteAclsRequest.DeleteAclsFilter
        new = [wanted(*each, version=1) for each in after - before]
        for each in brokers.ask(
            admin_messages.DeleteAclsRequest(filters=new), brokers.controller()
        ).filter_results:
            require(each.error_code, each.error_message)


def _users(brokers: Brokers) -> dict[tuple[str, int], int]:
    answer = _asked(brokers, admin_messages.DescribeUserScramCredentialsRequest(users=None))
    if answer is None or answer.error_code:
        return {}
    return {
        (each.user, info.mechanism): info.iterations
        for each in answer.results
        for info in each.credential_infos
    }


def _put_back_users(
    brokers: Brokers,
    before: Mapping[tuple[str, int], int],
    after: Mapping[tuple[str, int], int],
) -> list[str]:
    """Remove users that were not there, and return those that are gone, or have changed."""
    message = admin_messages.AlterUserScramCredentialsRequest
    new = [
        message.ScramCredentialDeletion(name=name, mechanism=mechanism)
        for name, mechanism in after.keys() - before.keys()
    ]
    if new:
        answer = brokers.ask(message(deletions=new, upsertions=[]), brokers.controller())
        for each in answer.results:
            require(each.error_code, each.error_message)
    lost = [key for key, rounds in before.items() if after.get(key) != rounds]
    return [f"the password of the user {name!r}" for name, _ in lost]


def _asked(brokers: Brokers, request: ApiMessage) -> Any:
    """Return the answer; None where the broker does not know such requests."""
    try:
        return brokers.ask(request)
    except errors.IncompatibleBrokerVersion:
        return None
