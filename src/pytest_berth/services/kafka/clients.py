"""A test's clients, kafka-python's and berth's own: made when first used, closed within bounds."""

from __future__ import annotations

import selectors
import socket
from contextlib import ExitStack, contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pytest_berth.compat import kafka_private
from pytest_berth.debug_log import debug
from pytest_berth.services.kafka.brokers import Brokers
from pytest_berth.services.kafka.kafka_python import (
    KafkaAdminClient,
    KafkaConsumer,
    KafkaNetClient,
    KafkaProducer,
    errors,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLOSE_WITHIN = 1.0
_BACKOFF = 2
# kafka-python's own default waits 30 s for a broker that is gone.
_BOOTSTRAP = {"bootstrap_timeout_ms": 10_000}


class ClosingSelector(selectors.DefaultSelector):
    """A selector that closes with it every socket that it has watched.

    kafka-python forgets the socket of a connection that is being made when its client is closed.
    """

    def __init__(self) -> None:
        super().__init__()
        self._watched: set[socket.socket] = set()

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        """Watch a socket, and remember it."""
        if isinstance(fileobj, socket.socket):
            self._watched = {fileobj, *(each for each in self._watched if each.fileno() >= 0)}
        return super().register(fileobj, events, data)

    def close(self) -> None:
        """Close, and close all sockets that are still open."""
        super().close()
        for each in self._watched:
            each.close()


class QuickClient(KafkaNetClient):  # type: ignore[misc]  # kafka-python has no types
    """A client that asks again for metadata after `_BACKOFF` ms.

    kafka-python hands its ``retry_backoff_ms`` to all parts but the one that keeps the metadata,
    so that the first record to, or from, any topic would take 0.1 s.
    """

    def __init__(self, **configs: Any) -> None:
        super().__init__(**configs)
        self.cluster.config["retry_backoff_ms"] = _BACKOFF


class Clients:
    """One test's clients of a cluster; closing it ends them and their threads.

    Args:
        bootstrap: The addresses of the cluster's brokers.
        cluster_id: The cluster that berth's own connections have to lead to.
        brokers: Berth's own connections, where somebody else has them and closes them.

    Attributes:
        groups: The groups of the consumers that were made here.
    """

    def __init__(
        self, bootstrap: str, cluster_id: str = "", brokers: Brokers | None = None
    ) -> None:
        self._cluster = bootstrap, cluster_id
        self._brokers = brokers
        self._common = {
            "bootstrap_servers": bootstrap.split(","),
            "retry_backoff_ms": _BACKOFF,
            "reconnect_backoff_max_ms": 1_000,
            "request_timeout_ms": 20_000,
            "kafka_client": QuickClient,
            "selector": ClosingSelector,
        }
        self._open = ExitStack()
        self.groups: set[str] = set()

    def close(self) -> None:
        """Close every client that has been made."""
        self._open.close()

    @cached_property
    def admin(self) -> KafkaAdminClient:
        """A client that creates, describes and deletes."""
        admin = KafkaAdminClient(**_BOOTSTRAP, **self._common)
        self._open.callback(admin.close)
        return admin

    @cached_property
    def producer(self) -> KafkaProducer:
        """A producer that sends at once and waits for every replica."""
        producer = KafkaProducer(acks="all", linger_ms=0, max_block_ms=10_000, **self._common)
        self._open.callback(_close_producer, producer)
        return producer

    @cached_property
    def brokers(self) -> Brokers:
        """Berth's own connections."""
        if self._brokers:
            return self._brokers
        brokers = Brokers(*self._cluster)
        self._open.callback(brokers.close)
        return brokers

    @contextmanager
    def consumer(self, **configs: Any) -> Iterator[KafkaConsumer]:
        """Yield a consumer of a group that reads from the beginning and commits when told."""
        defaults = {"enable_auto_commit": False, "auto_offset_reset": "earliest"}
        self.groups.add(configs.get("group_id", ""))
        consumer = KafkaConsumer(**{**_BOOTSTRAP, **self._common, **defaults, **configs})
        try:
            yield consumer
        finally:
            _close_consumer(consumer)


def _close_producer(producer: KafkaProducer) -> None:
    try:
        producer.close(timeout=_CLOSE_WITHIN)
    except errors.KafkaTimeoutError as error:
        debug("kafka: a producer is given up: %s", error)
        # The broker is gone, and kafka-python gives up before it ends its thread; every further
        # close would wait again for what can never be sent.
        kafka_private.give_up(producer, _CLOSE_WITHIN)


def _close_consumer(consumer: KafkaConsumer) -> None:
    # kafka-python's own default waits 30 s for a broker that is gone.
    consumer.close(autocommit=False, timeout_ms=_CLOSE_WITHIN * 1000)
