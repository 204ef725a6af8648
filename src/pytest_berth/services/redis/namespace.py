"""What a worker has of a Redis server: its database numbers, and berth's connections to them."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import redis

from pytest_berth.api import Kept, Namespace
from pytest_berth.errors import IsolationError, NotKeptError
from pytest_berth.isolation import keep_failed
from pytest_berth.run.run import MAIN
from pytest_berth.services.redis import (
    changed_keys,
    clients,
    database_numbers,
    error_details,
    near_misses,
    open_connections,
    urls,
    worker_databases,
)
from pytest_berth.services.redis.fixture_layers import KeyLayers
from pytest_berth.services.redis.kept_connection import KeptConnection
from pytest_berth.services.redis.restore import NotPutBackError
from pytest_berth.services.redis.worker_databases import WorkerDatabases
from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import pytest

    from pytest_berth.api import Server, Worker
    from pytest_berth.isolation.fixture_layers import Place
    from pytest_berth.services.redis.claims import Claim

# A report waits no longer for an answer, and asks a server that gave none no more.
_REPORTED_WITHIN = 1.0
# Database numbers for more workers than most machines have.
_PLENTY = 256


class RedisNamespace(Namespace):
    """Database numbers that tests of one process work in, one after the other.

    Args:
        server: The server.
        url: URL of the database that tests are told.
        databases: The numbers, and berth's own clients.
        claim: On an external server, what makes the number ours.
        unclaimed: The numbers that no worker has for itself.
    """

    def __init__(
        self,
        server: Server,
        url: str,
        databases: WorkerDatabases,
        claim: Claim | None = None,
        unclaimed: Collection[int] = (),
    ) -> None:
        self.url = url
        self._server = server
        self._databases = databases
        self._claim = claim
        self._unclaimed = unclaimed
        self._settled = False
        self._began = now()
        self._is_silent = False
        self._layers = KeyLayers(databases)
        self._kept = KeptConnection(url)

    @property
    def follows_fixtures(self) -> bool:
        """Whether what fixtures of a wider scope write is put back: it is."""
        return True

    @contextmanager
    def isolate(self, item: pytest.Item | None) -> Iterator[None]:
        """Give a test a clean slate, and clean up behind it; a server of its own ends with it.

        Fixtures of a wider scope have written by now: what they wrote is put back, too.

        Raises:
            IsolationError: The database number is no longer ours, the server is lost, or the test
                has changed something that cannot be put back.
        """
        self._began, self._is_silent = now(), False
        if self.dedicated:
            yield
            return
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
    def entering(self, place: Place, fixture: object) -> Iterator[None]:
        """Let a fixture of a wider scope write."""
        self._require_ours()
        with self._layers.entering(place, fixture):
            yield

    def note_end(self, fixture: object) -> None:
        """Note that a fixture of a wider scope has ended: nobody is to see what it wrote."""
        self._layers.note_end(fixture)

    def leave(self, fixture: object, name: str) -> None:
        """Put back what a fixture of a wider scope wrote, as it has ended."""
        with self._told():
            self._require_ours()
            self._layers.leave(fixture)

    @contextmanager
    def client(self, url: str) -> Iterator[redis.Redis]:
        """Yield a client of a test's own.

        Args:
            url: The URL that the suite says; that of the namespace unless it has its own fixture.
        """
        if url == self.url:
            with self._kept.client() as client:
                yield client
        else:
            with clients.closing(clients.client(url)) as client:
                yield client

    def close(self) -> None:
        """Close the connection that tests get one after the other."""
        self._kept.close()

    def shell_name(self) -> str:
        """Return the number of the worker's database."""
        return str(self._databases.number)

    def sweep(self) -> None:
        """Delete what has come after the last test's end, from threads that outlived it.

        What fixtures of a wider scope deleted when they ended stays deleted.
        """
        if self._settled:
            with self._told():
                self._require_ours()
                self._layers.sweep()

    def expect_changes(self) -> None:
        """Look anew before the next test: a fixture of a wider scope begins, or has ended."""
        self._layers.is_settled = False

    def take_dirty(self) -> list[str]:
        """Return, once, the database numbers that were emptied, or put back."""
        found, self._databases.dirty = self._databases.dirty, set()
        return [f"db{number}" for number in sorted(found)]

    def reopen(self, server: Server) -> None:
        """Go on with the server that takes the place of a lost one, with what fixtures wrote."""
        self._databases.forget()
        self._kept.close()
        self._server = self._databases.server = server
        self._settled = False
        clients.drop_idle(server)
        with self._told():
            self._layers.refill()

    def keep(self, item: pytest.Item, name: str, until: float) -> list[Kept]:
        """Copy what a failed test has written into spare numbers; a server of its own stays."""
        if self._server.source == "external":
            why = "on a server that others use, numbers are a run's while it lasts"
            raise NotKeptError("no database number can be kept on an external Redis.", why=why)
        if self.dedicated:
            return [Kept(str(self._databases.number))]
        from pytest_berth.services.redis import kept_keys

        return kept_keys.keep(self._databases, item.nodeid, until)

    def audit(self) -> Mapping[str, str | None]:
        """Return the keys of the worker's numbers."""
        from pytest_berth.services.redis import audit

        self._require_ours()
        return audit.of_worker(self._databases)

    def audit_server(self) -> Mapping[str, str | None]:
        """Return what stands beside keys, and keys in numbers of nobody, on a server of ours."""
        from pytest_berth.services.redis import audit

        return {} if self._claim else audit.of_server(self._databases, self._unclaimed)

    def changes(self, item: pytest.Item) -> Sequence[str]:
        """Tell which keys the test has added, changed and deleted, and what it has set."""
        before = self._layers.untouched if self.dedicated else self._layers.before_test
        return self._reported(lambda databases: changed_keys.lines(databases, before))

    def left_behind(self, item: pytest.Item) -> Sequence[str]:
        """Tell what waits, watches, listens, or was not given back to its pool."""
        began = self._began
        return self._reported(lambda databases: open_connections.lines(databases, began))

    def explain(self, item: pytest.Item, error: BaseException) -> Sequence[str]:
        """Tell what the server knows of an error of redis-py's, and which keys were not there."""
        found, began = error_details.find(error), self._began
        missed = near_misses.find(item.config)
        if found is None and not missed:
            return ()

        def tell(databases: WorkerDatabases) -> list[str]:
            told = error_details.lines(databases, found, began) if found else []
            return [*told, *near_misses.lines(databases, missed)]

        return self._reported(tell)

    def shell(self, item: pytest.Item) -> str:
        """Return the command line of redis-cli, and how to look when the test has ended."""
        command = urls.redis_cli(self._server, self._databases.number)
        return "\n".join(filter(None, [command, keep_failed.look_afterwards(item, self._server)]))

    def _reported(self, tell: Callable[[WorkerDatabases], Sequence[str]]) -> Sequence[str]:
        """Return what is told by connections of their own, which wait for next to nothing."""
        if self._is_silent:
            return ()
        own, server = self._databases, self._server
        client = clients.berths_own(server, own.number, answers_within=_REPORTED_WITHIN)
        databases = WorkerDatabases(
            server, own.number, own.numbers, client, own.is_alone, _REPORTED_WITHIN
        )
        try:
            with clients.closing(client), worker_databases.closing(databases):
                if self._claim:
                    replace(self._claim, client=client).renew()
                return tell(databases)
        except (redis.ConnectionError, redis.TimeoutError):
            self._is_silent = True
            raise

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Say of a server of ours that refuses to be put back that it is of no more use."""
        try:
            yield
        except redis.ResponseError as error:
            if self._server.source == "external":
                raise
            raise NotPutBackError([str(error)]) from error

    def _require_ours(self) -> None:
        if self._claim:
            self._claim.renew()


@contextmanager
def opened(server: Server, worker: Worker) -> Iterator[RedisNamespace]:
    """Open a worker's database numbers.

    Raises:
        NoSourceError: On an external server, no number is free.
        IsolationError: The server has fewer numbers than there are workers.
    """
    who = MAIN if worker.dedicated else worker.name
    number = database_numbers.number(server, worker.settings, worker.run_id, who)
    url = urls.url(server, number)
    if server.source != "external":
        with clients.closing(clients.berths_own(server, number)) as client:
            _require_number(client, number)
            with worker_databases.closing(_databases(worker, server, number, client)) as databases:
                unclaimed = database_numbers.unclaimed(worker.settings, worker.workers)
                with closing(
                    RedisNamespace(server, url, databases, unclaimed=unclaimed)
                ) as namespace:
                    yield namespace
        return
    from pytest_berth.services.redis import claims

    name = claims.owner(worker.run_id, who)
    with clients.closing(claims.connect(url, name)) as client:
        _require_number(client, number)
        claim = claims.claim(client, name, number)
        own = WorkerDatabases(server, number, range(number, number + 1), client)
        with (
            worker_databases.closing(own) as databases,
            closing(RedisNamespace(server, url, databases, claim)) as namespace,
        ):
            yield namespace
        claim.renew_at_end()


def _databases(worker: Worker, server: Server, number: int, client: redis.Redis) -> WorkerDatabases:
    """Return the databases on a server of ours: all of them, where no other worker uses it."""
    count = database_numbers.count(worker.settings)
    if worker.dedicated:
        return WorkerDatabases(
            server, number, range(number, number + 1), client
        )  # it ends with its test
    if server.slot or worker.workers == 1:
        return WorkerDatabases(server, number, range(count), client, is_alone=True)
    further = database_numbers.further(count, worker.workers)
    return WorkerDatabases(server, number, range(number, number + further), client)


def _require_number(client: redis.Redis, number: int) -> None:
    try:
        client.ping()
    except redis.ResponseError as error:
        raise IsolationError(
            f"the server has no database number {number}.",
            why=str(error),
            remedy="set more of them, one for each worker: berth_redis_settings = databases ="
            f" {max(number + 1, _PLENTY)}",
        ) from None
