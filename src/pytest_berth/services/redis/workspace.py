"""A worker's place on the server: its database number, berth's connection, its clean slates."""

from __future__ import annotations

from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from pytest_berth.errors import IsolationError
from pytest_berth.lifecycle.losing import told_when_lost
from pytest_berth.services.redis import baseline, clients, databases, urls
from pytest_berth.services.redis.layers import KeyLayers
from pytest_berth.services.redis.lost import ERRORS
from pytest_berth.services.redis.service import REDIS

if TYPE_CHECKING:
    from collections.abc import Iterator

    import redis

    from pytest_berth.lifecycle.state import Berth
    from pytest_berth.service import Server
    from pytest_berth.services.layers import Place
    from pytest_berth.services.redis.claims import Claim


@dataclass
class Workspace:
    """A database number that tests of one process work in, one after the other.

    Attributes:
        berth: The run.
        server: The server.
        url: URL of the database.
        client: berth's own client.
        claim: On an external server, what makes the number ours.
    """

    berth: Berth
    server: Server
    url: str = field(repr=False)
    client: redis.Redis
    claim: Claim | None = None
    _settled: bool = field(default=False, init=False)

    @cached_property
    def _layers(self) -> KeyLayers:
        return KeyLayers(self.client)

    @contextmanager
    def slate(self) -> Iterator[None]:
        """Give a test a clean slate, and clean up behind it.

        Fixtures of a wider scope have written by now: what they wrote is put back, too.

        Raises:
            IsolationError: The database number is no longer ours, or the server is lost.
        """
        self._renew_if_lost()
        with self._told_when_lost():
            self._require_ours()
            self._settled = False
            self._layers.begin()
            try:
                yield
            finally:
                self._require_ours()
                self._layers.end()
                self._settled = True

    @contextmanager
    def entering(self, place: Place, fixture: object) -> Iterator[None]:
        """Let a fixture of a wider scope write."""
        self._renew_if_lost()
        with self._told_when_lost():
            self._require_ours()
            with self._layers.entering(place, fixture):
                yield

    def leave(self, fixture: object, _: str) -> None:
        """Put back what a fixture of a wider scope wrote, as it has ended."""
        if not self.berth.manager.is_lost(self.server):
            with self._told_when_lost():
                self._require_ours()
                self._layers.leave(fixture)

    def sweep(self) -> None:
        """Delete what has come after the last test's end, from threads that outlived it.

        Called before any fixture of the next test; what those of a wider scope deleted when they
        ended stays deleted. Where the server is lost, the next test that needs it gets another one.
        """
        if self._settled and not self.berth.manager.is_lost(self.server):
            with self._told_when_lost():
                self._require_ours()
                baseline.remove_others(self.client, self._layers.known)

    def start_over(self) -> None:
        """Empty the database."""
        with self._told_when_lost():
            self._require_ours()
            self._layers.known = baseline.restore(self.client, baseline.EMPTY)
            self._settled = True

    def _renew_if_lost(self) -> None:
        """Go on with the server, empty as it is, that takes the place of a lost one."""
        if self.berth.manager.is_lost(self.server):
            self.client.connection_pool.disconnect()
            self.server = self.berth.server(REDIS, self.server.slot)
            self.__dict__.pop("_layers", None)
            self._settled = False

    def _told_when_lost(self) -> AbstractContextManager[None]:
        return told_when_lost(self.berth, REDIS, self.server, ERRORS)

    def _require_ours(self) -> None:
        if self.claim:
            self.claim.renew()


@contextmanager
def workspace(berth: Berth, server: Server, worker: str) -> Iterator[Workspace]:
    """Open a worker's database number.

    Raises:
        NoSourceError: On an external server, no number is free.
        IsolationError: The server has fewer numbers than there are workers.
    """
    number = databases.number(server, berth.settings, berth.run.id, worker)
    url = urls.url(server, number)
    if server.source != "external":
        with clients.closing(clients.berths_own(server, number)) as client:
            _require_number(client, number)
            yield Workspace(berth, server, url, client)
        return
    from pytest_berth.services.redis import claims

    name = claims.owner(berth.run.id, worker)
    with clients.closing(claims.connect(url, name)) as client:
        _require_number(client, number)
        claim = claims.claim(client, name, number)
        yield Workspace(berth, server, url, client, claim)
        claim.renew_at_end()


def _require_number(client: redis.Redis, number: int) -> None:
    import redis

    try:
        client.ping()
    except redis.ResponseError as error:
        raise IsolationError(
            f"the server has no database number {number}.",
            why=str(error),
            remedy="set more of them, one for each worker: berth_redis_settings = databases = 256",
        ) from None
