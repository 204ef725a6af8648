"""What a worker has of a RabbitMQ server: a virtual host, and berth's connections to it."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from pika.exceptions import AMQPChannelError

from pytest_berth.api import Namespace
from pytest_berth.debug_log import ignoring
from pytest_berth.errors import NoSourceError, NotRestoredError
from pytest_berth.services.rabbitmq import look, management, urls, vhosts
from pytest_berth.services.rabbitmq import options as ini
from pytest_berth.services.rabbitmq.amqp import Connection
from pytest_berth.services.rabbitmq.management import ApiRefusedError, Management
from pytest_berth.services.rabbitmq.vhost_state import VhostState
from pytest_berth.services.rabbitmq.vhosts import OwnVhosts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pytest

    from pytest_berth.api import Server, Worker
    from pytest_berth.services.rabbitmq.look import State
    from pytest_berth.services.rabbitmq.management import Request

EXTERNAL = "external"
# A report waits no longer for an answer.
_REPORTED_WITHIN = 1.0
_REFUSED = (ApiRefusedError, AMQPChannelError)


class RabbitNamespace(Namespace):
    """A virtual host that tests of one process work in, one after the other.

    Attributes:
        own: The virtual hosts of single tests.
    """

    restores = True

    def __init__(self, server: Server, worker: Worker) -> None:
        self._server = server
        self._run_id = worker.run_id
        self._vhost = worker.namespace
        self._own_vhost = ""
        self._known: State = {}
        self._is_settled = self._is_fresh = False
        self.url = urls.url(server, self._vhost)
        self._open()

    @property
    def management_url(self) -> str:
        """URL of the server's management API, without the account."""
        return urls.management_url(self._server)

    def capture(self) -> State:
        """Return all that the virtual host holds; what was seen just now is not looked at again."""
        if not self._is_fresh:
            self._known = self._told(self._state.capture)
        self._is_fresh = self._is_settled = False
        return self._known

    def restore(self, baseline: Mapping[Any, Any]) -> None:
        """Put back what the virtual host held, and remove the rest."""
        self._told(lambda: self._state.restore(baseline, refill=True))
        self._known, self._is_settled, self._is_fresh = baseline, True, False

    def expect_changes(self) -> None:
        """Take what is written from now on for that of fixtures of a wider scope."""
        self._is_settled = self._is_fresh = False

    def sweep(self) -> None:
        """Remove what has come after the last test's end, from threads that outlived it."""
        if self._is_settled:
            self._told(lambda: self._state.restore(self._known, refill=False))
            self._is_settled, self._is_fresh = False, True

    def take_dirty(self) -> Sequence[str]:
        """Return, once, what was removed or put back: ``queue orders``."""
        found, self._state.dirty = self._state.dirty, set()
        return sorted(found)

    def changes(self, item: pytest.Item) -> Sequence[str]:
        """Tell what the test has declared, deleted and changed, and which messages there are."""
        found = self._reported()
        # A virtual host of a test's own has begun with nothing but the account's permission.
        own = {key: value for key, value in found.definitions.items() if key[0] == look.PERMISSION}
        return found.differences(own if self._own_vhost else self._known)

    def left_behind(self, item: pytest.Item) -> Sequence[str]:
        """Tell of messages that are not acknowledged."""
        return self._reported().unacknowledged

    def _reported(self) -> look.Look:
        """Look by a connection of its own, which waits for next to nothing."""
        is_ours = _proof(self._server, self._vhost, self._run_id)
        with closing(Management(self._server, is_ours, _REPORTED_WITHIN)) as api:
            return look.look_at(api, self._own_vhost or self._vhost)

    def reopen(self, server: Server) -> None:
        """Go on with the server that takes the place of a lost one: with a new virtual host."""
        self.close()
        self._server = server
        self._is_settled = self._is_fresh = False
        self._open()

    def close(self) -> None:
        """Close berth's own connections."""
        self.own.close()
        self._state.connection.close()
        self._state.management.close()

    @contextmanager
    def own_url(self) -> Iterator[str]:
        """Yield the URL of a virtual host of a test's own."""
        self._own_vhost = self.own.take()
        try:
            yield urls.url(self._server, self._own_vhost)
        finally:
            self.own.give_back(self._own_vhost)
            self._own_vhost = ""

    def _open(self) -> None:
        """Make the virtual host, and connect to it: that tells others that the run lives."""
        server, vhost = self._server, self._vhost
        self._make_vhost()
        is_ours = _proof(server, vhost, self._run_id)
        connection = Connection(server, vhost)
        self._state = VhostState(vhost, Management(server, is_ours), connection)
        self.own = OwnVhosts(server, vhost, self._run_id, is_ours)
        connection.channel()

    def _make_vhost(self) -> None:
        # On a server of others there is no proof before there is something of ours.
        server = self._server
        is_ours = management.of_started(server) if server.source != EXTERNAL else _anybody
        with closing(Management(server, is_ours)) as api:
            vhosts.make(api, server, self._vhost, self._run_id)

    def _told(self, act: Callable[[], Any]) -> Any:
        """Do something; where RabbitMQ refuses it, again, and then in a new virtual host.

        The first time, something may have gone together with a connection that was closed. The
        second time, a test has removed the virtual host, or the right to use it.

        Raises:
            NotRestoredError: It refuses that, too.
        """
        with ignoring(*_REFUSED, why="it is tried again"):
            return act()
        with ignoring(*_REFUSED, why="the virtual host is made anew"):
            return act()
        try:
            self._make_vhost()
            return act()
        except _REFUSED as error:
            raise NotRestoredError(
                f"the virtual host {self._vhost} cannot be put back.",
                why=str(error),
                remedy="see what the test has done to the account, or to the server; a test that"
                " needs the server for itself can be kept from others by berth_rabbitmq_scope",
            ) from error


@contextmanager
def opened(server: Server, worker: Worker, *, prepare: bool) -> Iterator[RabbitNamespace]:
    """Open a worker's virtual host.

    Args:
        server: The server.
        worker: Who works there.
        prepare: Whether tests of it have virtual hosts of their own.

    Raises:
        NoSourceError: On an external server, the management API does not let tests work there.
    """
    with _explained(server):
        namespace = RabbitNamespace(server, worker)
    try:
        if prepare:
            namespace.own.prepare()
        yield namespace
    finally:
        namespace.close()


def release(server: Server, run_id: str) -> None:
    """Remove from an external server what a run has made there, and what dead ones have left."""
    with closing(Management(server, _anybody)) as api:
        vhosts.remove_all(api, run_id)


def _proof(server: Server, vhost: str, run_id: str) -> Callable[[Callable[[Request], Any]], bool]:
    if server.source == EXTERNAL:
        return vhosts.has(vhost, run_id)
    return management.of_started(server)


def _anybody(ask: Callable[[Request], Any]) -> bool:
    return True


@contextmanager
def _explained(server: Server) -> Iterator[None]:
    """Tell what an external server has to let its account do."""
    try:
        yield
    except ApiRefusedError as error:
        if server.source != EXTERNAL:
            raise
        raise NoSourceError(
            f"the external RabbitMQ at {server.host}:{server.port} does not let tests have virtual"
            " hosts.",
            why=error.why,
            remedy=f"give the account of {ini.URL.name} the tag administrator, or let berth start a"
            " RabbitMQ: berth_rabbitmq_source = container (or local)",
        ) from None
