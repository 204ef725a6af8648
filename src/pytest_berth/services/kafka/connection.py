"""A connection to a broker which has proved, on this very connection, to be of the right cluster.

Everything that berth itself asks of Kafka goes over such connections. kafka-python's clients, which
tests and applications use, connect again by themselves, and so to whatever listens at a port by
then; and their deadlines stand still where a test has frozen the clock.
"""

from __future__ import annotations

import io
import selectors
import socket
import struct
import threading
from typing import TYPE_CHECKING, Any

from pytest_berth.errors import NotOursError
from pytest_berth.services.kafka.kafka_python import BrokerVersionData, errors, metadata_messages
from pytest_berth.waiting import now

if TYPE_CHECKING:
    from pytest_berth.services.kafka.kafka_python import ApiMessage

_CLIENT = "berth"
_CONNECTED_WITHIN = 5.0
_ANSWERED_WITHIN = 20.0
_LARGEST, _MOST_AT_ONCE = 1 << 28, 1 << 20
# The place of a request's number, behind its length, its kind and its version.
_NUMBER_AT = 8


class Repeated:
    """A request that is sent again and again as it is: it is encoded once.

    One thread sends it, and gets the answer, at a time.

    Attributes:
        request: The request.
    """

    def __init__(self, request: ApiMessage) -> None:
        self.request = request
        self._encoded = bytearray()

    def encoded(self, number: int) -> bytes:
        """Return the request as it is sent under a number."""
        header = self.request.header
        if header is None:
            self._encoded += _encoded(self.request, number)
        else:
            header.correlation_id = number
            struct.pack_into(">i", self._encoded, _NUMBER_AT, number)
        return bytes(self._encoded)


class ForeignBrokerError(NotOursError):
    """A broker of another cluster listens where ours did; nothing is asked of it."""


class Connection:
    """A connection to one broker; requests of several threads go over it one after the other.

    Args:
        host: Its host.
        port: Its port.
        cluster_id: The cluster that it must be of; empty where any will do.
        within: Seconds for it to connect, and to answer a question.

    Raises:
        ForeignBrokerError: It is of another cluster.
        OSError: It does not answer, or not as a broker.
    """

    def __init__(
        self, host: str, port: int, cluster_id: str, within: float = _CONNECTED_WITHIN
    ) -> None:
        self.address = (host, port)
        self._lock = threading.Lock()
        self._number = 0
        self._received = bytearray()
        self._socket = socket.create_connection(self.address, within)
        try:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._versions = self._api_versions(within)
            self.cluster_id = self._prove(cluster_id, within)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    @property
    def has_input(self) -> bool:
        """Whether there is something to read now, be it the connection's end."""
        if self._received:
            return True
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            return bool(selector.select(0))

    def ask(self, *requests: ApiMessage | Repeated, within: float = _ANSWERED_WITHIN) -> list[Any]:
        """Send requests, in the newest versions that both sides know, and return the answers.

        The broker answers one after the other, in one round trip.

        Raises:
            kafka.errors.IncompatibleBrokerVersion: The broker does not know such requests.
            OSError: There is no answer.
        """
        asked = [each.request if isinstance(each, Repeated) else each for each in requests]
        for request in asked:
            if request.API_VERSION is None:
                request.API_VERSION = self._versions.api_version(request)
        with self._lock:
            deadline = now() + within
            self._socket.settimeout(within)
            self._socket.sendall(b"".join(map(self._numbered, requests)))
            answers = [self._receive_message(deadline) for _ in requests]
        return [self._decode(*pair) for pair in zip(asked, answers, strict=True)]

    def _numbered(self, request: ApiMessage | Repeated) -> bytes:
        self._number += 1
        if isinstance(request, Repeated):
            return request.encoded(self._number)
        return _encoded(request, self._number)

    def _api_versions(self, within: float) -> BrokerVersionData:
        # Every broker answers this version, whatever else it knows.
        (answer,) = self.ask(metadata_messages.ApiVersionsRequest(version=0), within=within)
        known = {each.api_key: (each.min_version, each.max_version) for each in answer.api_keys}
        return BrokerVersionData(api_versions=known)

    def _prove(self, expected: str, within: float) -> str:
        request = metadata_messages.MetadataRequest(topics=[], allow_auto_topic_creation=False)
        (answer,) = self.ask(request, within=within)
        found = answer.cluster_id or ""
        if expected and found != expected:
            host, port = self.address
            raise ForeignBrokerError(
                f"the broker at {host}:{port} is not the one that this run works with.",
                why=f"its cluster is {found!r}, and {expected!r} was expected: nothing was"
                " done there",
                remedy="end what listens there, and run again",
            )
        return str(found)

    def _receive_message(self, deadline: float) -> bytes:
        (size,) = struct.unpack(">i", self._receive(4, deadline))
        if not 4 <= size <= _LARGEST:
            raise ConnectionError("what answers at {}:{} is no broker".format(*self.address))
        return self._receive(size, deadline)

    def _receive(self, size: int, deadline: float) -> bytes:
        while len(self._received) < size:
            # The socket's own clock is the system's, which no test can freeze.
            self._socket.settimeout(max(0.001, deadline - now()))
            part = self._socket.recv(_MOST_AT_ONCE)
            if not part:
                raise ConnectionError("the broker closed the connection")
            self._received += part
        found = bytes(self._received[:size])
        del self._received[:size]
        return found

    def _decode(self, request: ApiMessage, answer: bytes) -> Any:
        kind = request.header.get_response_class()
        stream = io.BytesIO(answer)
        try:
            if kind.parse_header(stream).correlation_id != request.header.correlation_id:
                raise ConnectionError("the broker answered another request")
            return kind.decode(stream.read())
        except (ValueError, struct.error) as error:
            raise ConnectionError(f"the broker's answer cannot be read: {error}") from error


def _encoded(request: ApiMessage, number: int) -> bytes:
    request.with_header(correlation_id=number, client_id=_CLIENT)
    return bytes(request.encode(framed=True, header=True))


def require(code: int, message: str | None = None) -> None:
    """Raise kafka-python's error for an error code, unless there is none."""
    if code:
        raise errors.for_code(code)(message or "")
