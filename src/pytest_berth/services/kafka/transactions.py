"""Transactions that a test has left open: who reads committed records sees no later ones.

A transaction may end by itself in a moment, as those of stream processors do. Else its producer is
fenced, as Kafka's own administrators do it: the transactional id is given to another producer, by
which the broker aborts what the last one had begun.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.debug_log import debug
from pytest_berth.services.kafka.brokers import TRANSACTION
from pytest_berth.services.kafka.connection import require
from pytest_berth.services.kafka.group_coordinator import coordinated
from pytest_berth.services.kafka.kafka_python import admin_messages, errors, producer_messages
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from pytest_berth.services.kafka.brokers import Brokers

STATE_TOPIC = "__transaction_state"
_ENDS_WITHIN, _FENCED_WITHIN = 1.0, 20.0
_OPEN = ["Ongoing", "PrepareCommit", "PrepareAbort"]
_TIMEOUT_MS = 60_000


def end_all(brokers: Brokers, is_ours: Callable[[Collection[str]], bool]) -> list[str]:
    """End the open transactions, and return the transactional ids of those that were aborted.

    Args:
        brokers: Where.
        is_ours: Tells of the topics that a transaction has written to whether it may be ended.
    """

    def found() -> list[str]:
        return [name for name, topics in find_open(brokers).items() if topics and is_ours(topics)]

    if not found():
        return []
    try:
        wait_for(lambda: not found(), _ENDS_WITHIN)
    except TimeoutError as error:
        debug("kafka: transactions are aborted: %s", error)
        left = found()
        for name in left:
            coordinated(lambda name=name: _fence(brokers, name))  # type: ignore[misc]  # name is bound
        return left
    return []


def find_open(brokers: Brokers) -> dict[str, list[str]]:
    """Return the topics that open transactions have written to, by transactional id."""
    (described,) = brokers.metadata([STATE_TOPIC]).topics
    if described.error_code:
        return {}
    found: dict[str, list[str]] = {}
    for node in brokers.nodes():
        try:
            found |= coordinated(lambda node=node: _open_at(brokers, node))  # type: ignore[misc]  # node is bound
        except errors.IncompatibleBrokerVersion:
            return {}  # a broker that tells nobody
    return found


def _open_at(brokers: Brokers, node: int) -> dict[str, list[str]]:
    """Return those of a broker, which knows none of them until it has read what it coordinates."""
    listed = brokers.ask(
        admin_messages.ListTransactionsRequest(
            state_filters=_OPEN, producer_id_filters=[], duration_filter=-1
        ),
        node,
    )
    require(listed.error_code)
    names = [each.transactional_id for each in listed.transaction_states]
    if not names:
        return {}
    described = brokers.ask(
        admin_messages.DescribeTransactionsRequest(transactional_ids=names), node
    )
    found = {}
    for each in described.transaction_states:
        # One that has ended meanwhile may be forgotten already.
        if each.error_code != errors.TransactionalIdNotFoundError.errno:
            require(each.error_code, each.transactional_id)
            found[each.transactional_id] = [topic.topic for topic in each.topics]
    return found


def _fence(brokers: Brokers, name: str) -> None:
    request = producer_messages.InitProducerIdRequest(
        transactional_id=name,
        transaction_timeout_ms=_TIMEOUT_MS,
        producer_id=-1,
        producer_epoch=-1,
        max_version=5,
    )

    def work() -> bool:
        node = brokers.coordinator(name, TRANSACTION)
        require(brokers.ask(request, node).error_code, name)
        return True

    # Until the end of the transaction is written everywhere, the id is busy.
    wait_for(
        work,
        _FENCED_WITHIN,
        ignore=errors.ConcurrentTransactionsError,
        message=f"the end of the transaction of {name!r}",
    )
