"""pymongo's clients, set up so that nothing waits long where a test would not."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pymongo import MongoClient

from pytest_berth.services.mongodb import urls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.api import Server

Client = MongoClient["dict[str, Any]"]

NAME = "pytest-berth"
# Between tests nothing takes longer: a server that is stopped must not hang the run.
ANSWERS_WITHIN = 20.0
CONNECT_WITHIN = 5.0
# No thread asks the server how it is, but for once in a while; a lost one is told by its silence.
_CALM: dict[str, Any] = {"serverMonitoringMode": "poll", "heartbeatFrequencyMS": 600_000}


def berths_own(server: Server, *, answers_within: float = ANSWERS_WITHIN) -> Client:
    """Return a client for berth's own commands, which delete.

    Each of its connections begins with SCRAM, by which both sides prove that they know the
    password. It is new for each server that berth starts, so another one at its address can prove
    nothing, and is never sent a command.
    """
    return _client(
        urls.url(server, NAME),
        socketTimeoutMS=answers_within * 1000,
        connectTimeoutMS=min(answers_within, CONNECT_WITHIN) * 1000,
        serverSelectionTimeoutMS=min(answers_within, CONNECT_WITHIN) * 1000,
        datetime_conversion="DATETIME_MS",
        **_CALM,
    )


def without_account(server: Server, answers_within: float) -> Client:
    """Return a client of a server that has no account yet; it tells who it is, and lets one in."""
    wait = answers_within * 1000
    return MongoClient(
        server.host,
        server.port,
        directConnection=True,
        socketTimeoutMS=wait,
        connectTimeoutMS=wait,
        serverSelectionTimeoutMS=wait,
        **_CALM,
    )


def _client(url: str, **options: Any) -> Client:
    return MongoClient(url, **options)


class SharedClient(MongoClient["dict[str, Any]"]):
    """A client that tests of a process use one after the other: a new one costs 10 ms.

    Attributes:
        is_closed: Whether a test has closed it.
    """

    is_closed = False

    def close(self) -> None:
        """Close it, for good."""
        self.is_closed = True
        super().close()


def shared(url: str) -> SharedClient:
    """Return the client of tests, which tells of a closed port within seconds."""
    return SharedClient(url, serverSelectionTimeoutMS=CONNECT_WITHIN * 1000)


@contextmanager
def closing(client: Client) -> Iterator[Client]:
    """Close all connections of a client."""
    try:
        yield client
    finally:
        client.close()
