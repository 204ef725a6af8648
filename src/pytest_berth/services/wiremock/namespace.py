"""What a worker has of a WireMock: all of it, or the stubs below a path of its own."""

from __future__ import annotations

from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from pytest_berth.api import Namespace
from pytest_berth.errors import IsolationError, MissingExtraError
from pytest_berth.services.wiremock import project_stubs, reports
from pytest_berth.services.wiremock.admin import Admin
from pytest_berth.services.wiremock.client import WireMock
from pytest_berth.services.wiremock.restore import Stubs
from pytest_berth.services.wiremock.shared_stubs import Place
from pytest_berth.services.wiremock.stub_layers import StubLayers
from pytest_berth.services.wiremock.urls import address, is_shared

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    import pytest

    from pytest_berth.api import Server, Worker
    from pytest_berth.isolation.fixture_layers import Place as Scope

# A report waits no longer for an answer.
_REPORTED_WITHIN = 1.0


class WireMockNamespace(Namespace):
    """Stubs that tests of one process work with, one after the other.

    Args:
        server: The server.
        place: What of it is the worker's.
        stubs: The same, and berth's own connection.
    """

    def __init__(self, server: Server, place: Place, stubs: Stubs) -> None:
        self.url = address(server, place.path)
        self._server = server
        self._place = place
        self._stubs = stubs
        self._layers = StubLayers(stubs)

    @property
    def follows_fixtures(self) -> bool:
        """Whether what fixtures of a wider scope write is put back: it is."""
        return True

    @contextmanager
    def isolate(self, item: pytest.Item | None) -> Iterator[None]:
        """Give a test a clean slate, and clean up behind it; a server of its own ends with it."""
        self._layers.begin()
        try:
            yield
        finally:
            if not self.dedicated:
                self._layers.end()

    @contextmanager
    def entering(self, place: Scope, fixture: object) -> Iterator[None]:
        """Let a fixture of a wider scope write."""
        with self._layers.entering(place, fixture):
            yield

    def note_end(self, fixture: object) -> None:
        """Note that a fixture of a wider scope has ended: nobody is to see what it wrote."""
        self._layers.note_end(fixture)

    def leave(self, fixture: object, name: str) -> None:
        """Put back what a fixture of a wider scope wrote, as it has ended."""
        self._layers.leave(fixture)

    def expect_changes(self) -> None:
        """Look at the stubs before the next test: fixtures may have written."""
        self._layers.expects_changes = True

    def take_dirty(self) -> list[str]:
        """Return, once, what the last clean-up has put back: ``POST /charges``."""
        found, self._stubs.dirty = self._stubs.dirty, set()
        return sorted(found)

    def reopen(self, server: Server) -> None:
        """Go on with the server that takes the place of a lost one, with what fixtures wrote."""
        self._server = server
        self._stubs.admin.close()
        self._stubs.admin = Admin(server)
        self._layers.refill()

    def client(self) -> WireMock:
        """Return a client for a test, with a connection of its own."""
        return WireMock(self.url, server=self._server)

    @contextmanager
    def configured(self) -> Iterator[Any]:
        """Set the package ``wiremock`` to this server."""
        if self._place.is_shared:
            raise IsolationError(
                "the package wiremock cannot be used on a WireMock that others use, too.",
                why=f"its stubs would answer everybody's requests to {self.url}",
                remedy="use the fixture wiremock_client, or leave berth_wiremock_url and"
                " berth_wiremock_scope out, so that each worker has a server of its own",
            )
        try:
            from wiremock.constants import Config
        except ImportError:
            raise MissingExtraError("wiremock", "wiremock", needed_by="wiremock_config") from None
        before = Config.base_url
        Config.base_url = f"{self.url}/__admin"
        try:
            yield Config
        finally:
            Config.base_url = before

    def audit(self) -> Mapping[str, str | None]:
        """Return the stubs, the states of scenarios, and the global settings."""
        return reports.audited(self._stubs.look(self._layers.known), self._place)

    def changes(self, item: pytest.Item) -> Sequence[str]:
        """Tell which stubs the test has added, changed and deleted, and what was received."""
        before = self._layers.before_test
        return self._reported(lambda stubs: reports.changes(stubs, before))

    def explain(self, item: pytest.Item, error: BaseException) -> Sequence[str]:
        """Tell which requests matched no stub, and the stub that is nearest to each."""
        return self._reported(reports.unmatched)

    def shell(self, item: pytest.Item) -> str:
        """Return the commands that show stubs and requests."""
        if self._server.source == "external" and self._server.credentials.user:
            return ""
        base = address(self._server, "")
        return f"curl {base}/__admin/mappings\ncurl {base}/__admin/requests"

    def _reported(self, tell: Callable[[Stubs], Sequence[str]]) -> Sequence[str]:
        """Return what is told by a connection of its own, which waits for next to nothing."""
        with closing(Admin(self._server, _REPORTED_WITHIN)) as admin:
            return tell(Stubs(admin, self._place, {}))


@contextmanager
def opened(server: Server, worker: Worker) -> Iterator[WireMockNamespace]:
    """Open a worker's part of a server.

    Raises:
        AdminError: WireMock does not understand the project's stubs.
    """
    settings = worker.settings
    shared = is_shared(server, settings) and not worker.dedicated
    place = Place(worker.namespace if shared else "")
    with closing(Admin(server)) as admin:
        stubs = Stubs(admin, place, project_stubs.files(settings))
        if not shared:
            yield WireMockNamespace(server, place, stubs)
            return
        try:
            own = (place.own_stub(each) for each in project_stubs.stubs(settings))
            stubs.add({each["id"]: each for each in own})
            namespace = WireMockNamespace(server, place, stubs)
            yield namespace
        finally:
            stubs.remove_all()
