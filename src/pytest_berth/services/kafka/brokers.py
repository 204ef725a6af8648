"""The brokers of a cluster, and which of them is to be asked what."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_berth.debug_log import ignoring
from pytest_berth.services.kafka.connection import Connection, require
from pytest_berth.services.kafka.group_coordinator import coordinated
from pytest_berth.services.kafka.kafka_python import metadata_messages
from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pytest_berth.services.kafka.connection import Repeated
    from pytest_berth.services.kafka.kafka_python import ApiMessage

GROUP, TRANSACTION = 0, 1
_ANSWERED_WITHIN = 20.0
_CONNECTED_WITHIN = 5.0


@dataclass
class Brokers:
    """Connections to the brokers of one cluster; each has proved to lead there.

    Attributes:
        bootstrap: Addresses by which the cluster is found.
        cluster_id: The cluster; where it is empty, that of the first broker that answers.
        until: When, by `waiting.now`, nothing is asked and waited for any more; None for never.
    """

    bootstrap: str
    cluster_id: str = ""
    until: float | None = None
    _open: dict[tuple[str, int], Connection] = field(default_factory=dict, repr=False)
    _nodes: dict[int, tuple[str, int]] = field(default_factory=dict, repr=False)
    _coordinators: dict[tuple[int, str], int] = field(default_factory=dict, repr=False)
    _process: int = field(default_factory=os.getpid, repr=False)

    def settle(self) -> None:
        """Close the connections that brokers have closed, and those of the process forked from."""
        is_forked = self._process != os.getpid()
        self._process = os.getpid()
        for address, connection in list(self._open.items()):
            # Between two questions nothing comes but the end.
            if is_forked or connection.has_input:
                connection.close()
                del self._open[address]
        self._coordinators.clear()
        if not self._open.keys() >= {*self._nodes.values()}:
            self._nodes.clear()

    def close(self) -> None:
        """Close all connections."""
        while self._open:
            self._open.popitem()[1].close()

    def ask(
        self, request: ApiMessage, node: int | None = None, within: float = _ANSWERED_WITHIN
    ) -> Any:
        """Return a broker's answer; where its connection has broken meanwhile, on another one.

        Args:
            request: What does no harm when it is done twice.
            node: The broker's number; any broker where it is left out.
            within: Seconds to wait.

        Raises:
            ForeignBrokerError: A broker of another cluster answers by now.
            OSError: None answers.
        """
        (answer,) = self.ask_together([request], node, within)
        return answer

    def ask_together(
        self,
        requests: Sequence[ApiMessage | Repeated],
        node: int | None = None,
        within: float = _ANSWERED_WITHIN,
    ) -> list[Any]:
        """Return a broker's answers to several requests, which take one round trip; see `ask`."""
        connection = self._connection(node)
        try:
            return connection.ask(*requests, within=self._left(within))
        except OSError as error:
            self._drop(connection)
            if isinstance(error, TimeoutError):
                raise
        return self._connection(node).ask(*requests, within=self._left(within))

    def ask_once(self, request: ApiMessage, node: int) -> Any:
        """Return a broker's answer to what must not be done twice.

        Raises:
            OSError: There is no answer, and nobody knows whether it was done.
        """
        connection = self._connection(node)
        try:
            (answer,) = connection.ask(request)
        except OSError:
            self._drop(connection)
            raise
        return answer

    def metadata(self, topics: Iterable[str] | None = None, *, create: bool = False) -> Any:
        """Return what the cluster consists of.

        Args:
            topics: The topics to be described, by name; all where it is left out.
            create: Whether the broker may create those that are missing, as it does for producers.
        """
        answer = self.ask(metadata_request(topics, create=create))
        self.learn(answer)
        return answer

    def learn(self, answer: Any) -> None:
        """Note from an answer to a request for metadata where the brokers are."""
        self._nodes = {each.node_id: (each.host, each.port) for each in answer.brokers}

    def nodes(self) -> list[int]:
        """Return the numbers of all brokers."""
        if not self._nodes:
            self.metadata([])
        return sorted(self._nodes)

    def controller(self) -> int:
        """Return the number of the broker that takes administrators' requests."""
        if len(self._nodes) == 1:
            return next(iter(self._nodes))
        return int(self.metadata([]).controller_id)

    def coordinator(self, name: str, kind: int = GROUP) -> int:
        """Return the number of the broker that coordinates a group, or a transactional id."""
        known = self._coordinators.get((kind, name))
        if known is None:
            known = self._coordinators[kind, name] = coordinated(lambda: self._find(name, kind))
        return known

    def _find(self, name: str, kind: int) -> int:
        message = metadata_messages.FindCoordinatorRequest
        found = self.ask(message(key=name, key_type=kind, max_version=3))
        require(found.error_code, found.error_message)
        self._nodes[found.node_id] = (found.host, found.port)
        return int(found.node_id)

    def _connection(self, node: int | None) -> Connection:
        if node is not None and node not in self._nodes:
            self.metadata([])
        if node is not None and node in self._nodes:
            return self._connect(self._nodes[node])
        for connection in self._open.values():
            return connection
        return self._bootstrap()

    def _bootstrap(self) -> Connection:
        *others, last = [_address(each) for each in self.bootstrap.split(",")]
        for address in others:
            with ignoring(OSError, why="the next broker may answer"):
                return self._connect(address)
        return self._connect(last)

    def _connect(self, address: tuple[str, int]) -> Connection:
        if address not in self._open:
            connection = Connection(*address, self.cluster_id, self._left(_CONNECTED_WITHIN))
            self.cluster_id = connection.cluster_id
            self._open[address] = connection
        return self._open[address]

    def _left(self, within: float) -> float:
        """Return how long an answer may take."""
        if self.until is None:
            return within
        left = self.until - now()
        if left <= 0:
            raise TimeoutError("the broker has not answered in time")
        return min(within, left)

    def _drop(self, connection: Connection) -> None:
        connection.close()
        self._open = {key: each for key, each in self._open.items() if each is not connection}


def metadata_request(topics: Iterable[str] | None, *, create: bool = False) -> ApiMessage:
    """Return the request for what the cluster consists of; see `Brokers.metadata`."""
    message = metadata_messages.MetadataRequest
    wanted = None if topics is None else [message.MetadataRequestTopic(name=t) for t in topics]
    return message(topics=wanted, allow_auto_topic_creation=create)


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)
