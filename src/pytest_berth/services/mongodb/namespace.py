"""What a worker has of a server of MongoDB: a database."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pymongo
from pymongo.errors import OperationFailure

from pytest_berth.api import Namespace
from pytest_berth.errors import NotOursError
from pytest_berth.services.mongodb import (
    clients,
    contents,
    describe_changes,
    ownership,
    transactions,
    urls,
    watch,
)
from pytest_berth.services.mongodb.fixture_layers import DatabaseLayers
from pytest_berth.services.mongodb.probe import REFUSED
from pytest_berth.services.mongodb.restore import DatabaseState, not_restored

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    import pytest

    from pytest_berth.api import Server, Worker
    from pytest_berth.isolation.fixture_layers import Place
    from pytest_berth.services.mongodb.clients import Client, SharedClient

# A report waits no longer for an answer.
_REPORTED_WITHIN = 1.5


class MongoNamespace(Namespace):
    """A database that tests of one process work in, one after the other.

    Args:
        server: The server.
        name: The database.
        client: Berth's own.
        is_alone: Whether no other worker of the run, and nobody else, uses the server.
    """

    def __init__(self, server: Server, name: str, client: Client, *, is_alone: bool) -> None:
        self.url = urls.url(server, name)
        self.name = name
        self._server = server
        self._client = client
        self._is_alone = is_alone
        self._shared: SharedClient | None = None
        self._settled = False
        self._connect()

    def _connect(self) -> None:
        self._has_transactions = _has_transactions(self._client)
        state = DatabaseState(self._client, self.name, self._watch(), is_alone=self._is_alone)
        self._layers = DatabaseLayers(state)

    def _watch(self) -> watch.Watch:
        return watch.best(self._client, self.name, is_alone=self._is_alone)

    @property
    def follows_fixtures(self) -> bool:
        """Whether what fixtures of a wider scope write is put back: it is."""
        return True

    @property
    def client(self) -> SharedClient:
        """The client of tests; another one where a test has closed it."""
        if self._shared is None or self._shared.is_closed:
            self._shared = clients.shared(self.url)
        return self._shared

    @contextmanager
    def isolate(self, item: pytest.Item | None) -> Iterator[MongoNamespace]:
        """Give a test a clean slate, and clean up behind it; a server of its own ends with it.

        Raises:
            IsolationError: The server is lost, or another one, or does not let berth clean up.
        """
        if self.dedicated:
            yield self
            return
        with self._told():
            self._layers.begin()
            self._settled = self._layers.is_swept = False
            try:
                yield self
            finally:
                self._end_transactions()
                self._layers.end()
                self._settled = True

    @contextmanager
    def entering(self, place: Place, fixture: object) -> Iterator[None]:
        """Let a fixture of a wider scope write."""
        with self._layers.entering(place, fixture):
            yield

    def note_end(self, fixture: object) -> None:
        """Note that a fixture of a wider scope has ended: nobody is to see what it wrote."""
        self._layers.note_end(fixture)

    def leave(self, fixture: object, name: str) -> None:
        """Put back what a fixture of a wider scope wrote, as it has ended."""
        with self._told():
            self._end_transactions()
            self._layers.leave(fixture)

    def expect_changes(self) -> None:
        """Take what is written from now on for the next test's fixtures'."""
        self._settled = self._layers.is_swept = False

    def sweep(self) -> None:
        """Take back what has come after the last test's end, from threads that outlived it."""
        if self._settled:
            with self._told():
                self._layers.sweep()

    def take_dirty(self) -> list[str]:
        """Return, once, the collections that were put back."""
        state = self._layers.state
        found, state.dirty = state.dirty, set()
        return sorted(found)

    def reopen(self, server: Server) -> None:
        """Go on with the server that takes the place of a lost one, with what fixtures wrote."""
        self._server = server
        self._settled = self._layers.is_swept = False
        with self._told():
            self._has_transactions = _has_transactions(self._client)
            self._layers.state.go_on(self._watch())
            self._layers.refill()

    def audit(self) -> Mapping[str, str | None]:
        """Return the collections of the worker's database."""
        from pytest_berth.services.mongodb import audit

        return audit.texts(contents.read_all(self._client[self.name]))

    def changes(self, item: pytest.Item) -> Sequence[str]:
        """Tell which documents the test has added, changed and deleted."""
        before = {} if self.dedicated else self._layers.before_test
        with pymongo.timeout(_REPORTED_WITHIN):
            now = contents.read_all(self._client[self.name])
        return describe_changes.lines(before or {}, now)

    def left_behind(self, item: pytest.Item) -> Sequence[str]:
        """Tell which transactions are open."""
        if not self._has_transactions:
            return ()
        with pymongo.timeout(_REPORTED_WITHIN):
            return [transactions.described(each) for each in self._open_transactions()]

    def explain(self, item: pytest.Item, error: BaseException) -> Sequence[str]:
        """Tell which document is in the way of one with the same key."""
        with pymongo.timeout(_REPORTED_WITHIN):
            return describe_changes.in_the_way(self._client[self.name], error)

    def shell(self, item: pytest.Item) -> str:
        """Return the command line of mongosh."""
        return urls.mongosh(self._server, self.name)

    def close(self) -> None:
        """Close the client of tests; at a URL, what fixtures of the session wrote goes later."""
        if self._shared:
            self._shared.close()

    def _open_transactions(self) -> list[Mapping[str, Any]]:
        return transactions.left_open(self._client, self.name, is_alone=self._is_alone)

    def _end_transactions(self) -> None:
        found = self._open_transactions() if self._has_transactions else []
        if found:
            transactions.end(self._client, found)

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say of a server that refuses what berth sends why it may not be cleaned."""
        try:
            yield
        except OperationFailure as error:
            if error.code in REFUSED:
                raise _not_ours(self._server) from error
            raise not_restored(self.name, error) from error


@contextmanager
def opened(server: Server, worker: Worker) -> Iterator[MongoNamespace]:
    """Open a worker's database, which comes to be with the first document.

    Raises:
        NotOursError: Another server answers.
    """
    name, is_external = worker.namespace, server.source == "external"
    is_alone = not is_external and (bool(server.slot) or worker.workers == 1 or worker.dedicated)
    with clients.closing(clients.berths_own(server)) as client:
        try:
            if is_external:
                ownership.note(client, worker.run_id)
            namespace = MongoNamespace(server, name, client, is_alone=is_alone)
        except OperationFailure as error:
            if error.code in REFUSED:
                raise _not_ours(server) from error
            raise not_restored(name, error) from error
        try:
            yield namespace
        finally:
            namespace.close()


def _has_transactions(client: Client) -> bool:
    """Tell whether the server is of a replica set; FerretDB 1 only says so."""
    if not client.admin.command("hello").get("setName"):
        return False
    return "ferretdbVersion" not in client.admin.command("buildInfo")


def _not_ours(server: Server) -> NotOursError:
    return NotOursError(
        f"the MongoDB at {server.host}:{server.port} refuses berth: nothing was done on it.",
        why="its account is not the one by which it was opened, so another server may be there",
        remedy="end the other server, or run again: berth then starts one at another port",
    )
