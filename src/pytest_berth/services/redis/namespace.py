"""A worker's place on the server: its database numbers, berth's connections, its clean slates."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import redis

from pytest_berth.errors import IsolationError
from pytest_berth.run.crash_recovery import LostError, raise_if_lost
from pytest_berth.services.redis import baseline, clients, database_numbers, places, urls
from pytest_berth.services.redis.baseline import NotPutBackError
from pytest_berth.services.redis.connection_errors import ERRORS
from pytest_berth.services.redis.layers import KeyLayers
from pytest_berth.services.redis.places import Place
from pytest_berth.services.redis.service import REDIS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.api import Server
    from pytest_berth.isolation.layers import Place as FixturesPlace
    from pytest_berth.run.plugin_state import Berth
    from pytest_berth.services.redis.claims import Claim

_SILENT = (
    "where nobody has stopped it, or paused its clients, its log says why it does not answer; later"
    " tests get another one"
)


@dataclass
class Workspace:
    """Database numbers that tests of one process work in, one after the other.

    Attributes:
        berth: The run.
        server: The server.
        url: URL of the database that tests are told.
        place: The numbers, and berth's own clients.
        claim: On an external server, what makes the number ours.
    """

    berth: Berth
    server: Server
    url: str = field(repr=False)
    place: Place
    claim: Claim | None = None
    _settled: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        self._layers = KeyLayers(self.place)

    @contextmanager
    def slate(self) -> Iterator[None]:
        """Give a test a clean slate, and clean up behind it.

        Fixtures of a wider scope have written by now: what they wrote is put back, too.

        Raises:
            IsolationError: The database number is no longer ours, the server is lost, or the test
                has changed something that cannot be put back.
        """
        self._renew_if_lost()
        with self._told():
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
    def entering(self, place: FixturesPlace, fixture: object) -> Iterator[None]:
        """Let a fixture of a wider scope write."""
        self._renew_if_lost()
        # What else the fixture may raise is its own.
        with raise_if_lost(self.berth, REDIS, self.server, ERRORS):
            self._require_ours()
            with self._layers.entering(place, fixture):
                yield

    def leave(self, fixture: object, _: str) -> None:
        """Put back what a fixture of a wider scope wrote, as it has ended."""
        if not self.berth.manager.is_lost(self.server):
            with self._told():
                self._require_ours()
                self._layers.leave(fixture)

    def sweep(self) -> None:
        """Delete what has come after the last test's end, from threads that outlived it.

        Called before any fixture of the next test; what those of a wider scope deleted when they
        ended stays deleted. Where the server is lost, the next test that needs it gets another one.
        """
        if self._settled and not self.berth.manager.is_lost(self.server):
            with self._told():
                self._require_ours()
                baseline.remove_others(self.place, self._layers.known)

    def start_over(self) -> None:
        """Empty the numbers."""
        with self._told():
            self._require_ours()
            self._layers.known = baseline.restore(self.place, self._layers.untouched)
            self._settled = True

    def _renew_if_lost(self) -> None:
        """Go on with the server that takes the place of a lost one, with what fixtures wrote."""
        if self.berth.manager.is_lost(self.server):
            self.place.forget()
            self.server = self.place.server = self.berth.server(REDIS, self.server.slot)
            self._settled = False
            clients.drop_idle(self.server)
            with self._told():
                self._layers.refill()

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say what is wrong with a server; one of ours of which no use can be made is replaced.

        It may not answer any more, be another one, refuse what puts it back, or stay changed.
        """
        try:
            with raise_if_lost(self.berth, REDIS, self.server, ERRORS):
                yield
        except redis.ResponseError as error:
            if self.server.source == "external":
                raise
            self.berth.manager.mark_lost(self.server)
            raise NotPutBackError([str(error)]) from error
        except (LostError, NotPutBackError) as error:
            manager = self.berth.manager
            if self.server.source != "external" and not manager.is_lost(self.server):
                if isinstance(error, LostError):
                    error.remedy = _SILENT
                manager.mark_lost(self.server)
            raise

    def _require_ours(self) -> None:
        if self.claim:
            self.claim.renew()


@contextmanager
def workspace(berth: Berth, server: Server, worker: str) -> Iterator[Workspace]:
    """Open a worker's database numbers.

    Raises:
        NoSourceError: On an external server, no number is free.
        IsolationError: The server has fewer numbers than there are workers.
    """
    number = database_numbers.number(server, berth.settings, berth.run.id, worker)
    url = urls.url(server, number)
    if server.source != "external":
        with clients.closing(clients.berths_own(server, number)) as client:
            _require_number(client, number)
            with places.closing(_place(berth, server, number, client)) as place:
                yield Workspace(berth, server, url, place)
        return
    from pytest_berth.services.redis import claims

    name = claims.owner(berth.run.id, worker)
    with clients.closing(claims.connect(url, name)) as client:
        _require_number(client, number)
        claim = claims.claim(client, name, number)
        with places.closing(Place(server, number, range(number, number + 1), client)) as place:
            yield Workspace(berth, server, url, place, claim)
        claim.renew_at_end()


def _place(berth: Berth, server: Server, number: int, client: redis.Redis) -> Place:
    """Return the place on a server of ours: all of it, where no other worker uses it."""
    count = database_numbers.count(berth.settings)
    if server.slot not in {"", berth.run.worker}:
        return Place(server, number, range(number, number + 1), client)  # it ends with its test
    if server.slot or berth.run.workers == 1:
        return Place(server, number, range(count), client, is_alone=True)
    further = database_numbers.further(count, berth.run.workers)
    return Place(server, number, range(number, number + further), client)


def _require_number(client: redis.Redis, number: int) -> None:
    try:
        client.ping()
    except redis.ResponseError as error:
        raise IsolationError(
            f"the server has no database number {number}.",
            why=str(error),
            remedy="set more of them, one for each worker: berth_redis_settings = databases = 256",
        ) from None
