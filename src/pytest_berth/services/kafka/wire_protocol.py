"""Two questions to a broker, without a client library: who is in the cluster, which version is it?

A broker that starts accepts connections before it can serve; it can when it names itself in the
cluster's metadata. The requests are Metadata, version 2, which every broker since 0.10.1 answers,
and ApiVersions, version 3, since 2.4: https://kafka.apache.org/protocol
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_berth.errors import NotReadyError, StartError

if TYPE_CHECKING:
    from pytest_berth.api import Server

_METADATA, _API_VERSIONS = (3, 2), (18, 3)
_CORRELATION, _CLIENT = 1, b"berth"
_FEATURE = b"\x11metadata.version"
# The newest feature level of each release, from MetadataVersion.java.
_RELEASES = {19: "3.7", 20: "3.8", 21: "3.9", 25: "4.0", 27: "4.1"}
_ANSWER_WITHIN = 5.0
_LARGEST = 1 << 24


@dataclass(frozen=True)
class Cluster:
    """A cluster, as one of its brokers describes it.

    Attributes:
        id: The cluster's id.
        brokers: The addresses that its brokers advertise.
    """

    id: str
    brokers: tuple[tuple[str, int], ...]


def probe(server: Server) -> str:
    """Ask the broker once and return its version, ``"?"`` where the version is not known.

    Raises:
        NotReadyError: It does not answer yet.
        StartError: Another cluster answers.
    """
    try:
        cluster = ask(server.host, server.port)
    except (OSError, struct.error) as error:
        raise NotReadyError(str(error) or type(error).__name__) from None
    if not cluster.brokers:
        raise NotReadyError("the broker answers, but has not joined its cluster yet")
    ours = server.credentials.database
    if ours and cluster.id != ours:
        raise StartError(
            f"the broker at {server.host}:{server.port} is not the one that was started.",
            why=f"its cluster is {cluster.id!r}, and {ours!r} was expected",
            remedy="end what listens there, or run again: another port is chosen",
        )
    return server.version or release(server.host, server.port)


def ask(host: str, port: int) -> Cluster:
    """Return the cluster that a broker belongs to.

    Raises:
        OSError: It does not answer, or not as a broker.
    """
    return _parse(_request(host, port, _METADATA, struct.pack(">i", 0)))


def release(host: str, port: int) -> str:
    """Return the release that a broker's features are of, such as ``"4.1"``; ``"?"`` if unknown.

    A broker does not tell its version; a cluster of KRaft, the level of its metadata.
    """
    name = bytes([len(_CLIENT) + 1]) + _CLIENT
    response = _request(host, port, _API_VERSIONS, b"\0" + name + name + b"\0")
    # It is named twice: as supported, smallest level first, and as in force, greatest first.
    at = response.rfind(_FEATURE)
    if at < 0 or response.count(_FEATURE) < 2:
        return "?"
    (level,) = struct.unpack_from(">h", response, at + len(_FEATURE))
    older = [name for newest, name in _RELEASES.items() if newest >= level]
    return older[0] if older else f"after {_RELEASES[max(_RELEASES)]}"


def _request(host: str, port: int, api: tuple[int, int], body: bytes) -> bytes:
    request = struct.pack(">hhih", *api, _CORRELATION, len(_CLIENT)) + _CLIENT + body
    with socket.create_connection((host, port), _ANSWER_WITHIN) as connection:
        connection.sendall(struct.pack(">i", len(request)) + request)
        (size,) = struct.unpack(">i", _receive(connection, 4))
        if not 8 <= size <= _LARGEST:
            raise ConnectionError(f"what answers at {host}:{port} is not a Kafka broker")
        return _receive(connection, size)


def _receive(connection: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size:
        part = connection.recv(size - len(received))
        if not part:
            raise ConnectionError("the broker closed the connection")
        received += part
    return received


def _parse(response: bytes) -> Cluster:
    correlation, count = struct.unpack_from(">ii", response)
    if correlation != _CORRELATION:
        raise ConnectionError("what answers is not a Kafka broker")
    brokers, at = [], 8
    for _ in range(count):
        host, at = _text(response, at + 4)
        (port,) = struct.unpack_from(">i", response, at)
        _, at = _text(response, at + 4)
        brokers.append((host, port))
    cluster_id, _ = _text(response, at)
    return Cluster(cluster_id, tuple(brokers))


def _text(response: bytes, at: int) -> tuple[str, int]:
    """Read a nullable string: its length in two bytes, -1 for null, and UTF-8."""
    (length,) = struct.unpack_from(">h", response, at)
    end = at + 2 + max(length, 0)
    return response[at + 2 : end].decode(), end
