"""What a worker has of a server: the indices with its prefix, or all where it is alone."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pytest_berth.api import Namespace
from pytest_berth.errors import IsolationError, NotOursError
from pytest_berth.services.elasticsearch import changed, names, restore
from pytest_berth.services.elasticsearch.contents import Contents
from pytest_berth.services.elasticsearch.rest import connected

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import pytest

    from pytest_berth.api import Server, Worker
    from pytest_berth.services.elasticsearch.contents import Key
    from pytest_berth.services.elasticsearch.rest import Rest

# Below every other template, of which the older kind may have several for an index.
_LAST = -(1 << 31)
# A report waits no longer for an answer.
_REPORTED_WITHIN = 1.0


class SearchNamespace(Namespace):
    """The indices that tests of one process work with, one after the other."""

    def __init__(self, server: Server, url: str, contents: Contents, defaults: Defaults) -> None:
        self.url = url
        self._server = server
        # A server that ends with its test is not looked at.
        self.restores = not defaults.is_of_one_test
        self._contents = contents
        self._defaults = defaults
        self._expects_changes = True
        self._baseline: Mapping[Key, Any] = {}
        self._dirty: list[str] = []
        self._told: set[str] = set()

    @contextmanager
    def isolate(self, item: object) -> Iterator[None]:
        """Do nothing: only the namespace on a test's own server is isolated by this."""
        yield

    def capture(self) -> Mapping[Key, Any]:
        """Return everything that it holds, by kind and name.

        Since the sweep before a test, only fixtures of a wider scope can have written: where none
        has run, nobody looks again.
        """
        if self._expects_changes:
            self._contents.update(with_sources=True)
            self._baseline = dict(self._contents.known)
            self._expects_changes = False
        return self._baseline

    def restore(self, baseline: Mapping[Key, Any]) -> None:
        """Put everything back, with as few requests as can be.

        Raises:
            IsolationError: An index has come that all workers share.
            NotRestoredError: Something cannot be put back.
        """
        self._dirty += restore.restore(self._contents, baseline)
        self._baseline = baseline
        new = self._contents.shared - self._told
        self._told |= new
        if new:
            raise _is_shared(new, self._contents.names.prefix)

    def sweep(self) -> None:
        """Put back what threads and processes have written since the last test's end."""
        if not self._expects_changes:
            self.restore(self._baseline)

    def expect_changes(self) -> None:
        """Take what is written from now on for a fixture's."""
        self._expects_changes = True

    def take_dirty(self) -> list[str]:
        """Return, once, the names of what was put back."""
        found, self._dirty = self._dirty, []
        return found

    def changes(self, item: pytest.Item) -> list[str]:
        """Tell which documents, indices and templates the test has added, changed and deleted."""
        contents = self._contents
        with connected(self._server, answers_within=_REPORTED_WITHIN) as rest:
            contents.rest, own = rest, contents.rest
            try:
                contents.update(with_sources=False)
            finally:
                contents.rest = own
        return changed.lines(self._baseline, contents.known)

    def reopen(self, server: Server) -> None:
        """Go on with the server that takes the place of a lost one."""
        self._server = server
        self._contents.rest.on(server)
        self._contents.forget()
        self._expects_changes = True
        self._defaults.put(self._contents.rest)

    def refresh(self, *indices: str) -> None:
        """Let searches find what was written, in the named indices or in all of the worker's."""
        self._contents.refresh(indices or [self._contents.names.pattern])


class Defaults:
    """What indices are like unless they say otherwise: fit for tests.

    Args:
        refresh_interval: How often they are refreshed by themselves.
        is_berths: Whether the server is berth's: another's own defaults stay.
        is_of_one_test: Whether the server ends with its test.
    """

    def __init__(self, refresh_interval: str, *, is_berths: bool, is_of_one_test: bool) -> None:
        self.is_of_one_test = is_of_one_test
        self._is_berths = is_berths
        self._settings = {
            # With a copy that no second node takes, health stays yellow.
            "number_of_replicas": 0,
            "refresh_interval": refresh_interval,
            # `refresh=wait_for` would wait for ever where nothing refreshes by itself.
            "max_refresh_listeners": 0,
            # What is thrown away need not reach a disk.
            "translog": {"durability": "async"},
            # A document of an id that an earlier test has used is new again: its version is 1.
            "gc_deletes": "0s",
        }

    def put(self, rest: Rest) -> None:
        """Give a server of berth's these defaults; the first worker does."""
        path = f"/_template/{names.DEFAULTS}"
        if self._is_berths and rest.get(path, or_none=True) is None:
            body = {"index_patterns": ["*"], "order": _LAST, "settings": {"index": self._settings}}
            rest.put(path, body)


@contextmanager
def opened(
    server: Server, worker: Worker, url: str, refresh_interval: str
) -> Iterator[SearchNamespace]:
    """Open a worker's part of a server.

    Raises:
        NotOursError: On a server given by URL, an index has the run's prefix already.
    """
    own = names.of_worker(server, worker)
    defaults = Defaults(refresh_interval, is_berths=own.is_berths, is_of_one_test=worker.dedicated)
    with connected(server) as rest:
        contents = Contents(rest, own)
        defaults.put(rest)
        if not own.is_berths:
            contents.update(with_sources=False)
            _require_empty(contents)
        yield SearchNamespace(server, url, contents, defaults)


def _require_empty(contents: Contents) -> None:
    if contents.known:
        kind, name = next(iter(contents.known))[:2]
        raise NotOursError(
            f"the {kind} {name!r} is on the server already: nothing there is deleted.",
            why=f"its name begins with {contents.names.prefix!r}, which only this run may use",
            remedy="run again: the next run has another prefix",
        )


def _is_shared(found: set[str], prefix: str) -> IsolationError:
    shown = ", ".join(map(repr, sorted(found)))
    return IsolationError(
        f"tests of several workers share an index: {shown}.",
        why=f"the name does not begin with the worker's prefix, such as {prefix!r}: no worker may"
        " empty it while others use it",
        remedy="let the application put the prefix before its names: berth_export ="
        " INDEX_PREFIX = {elasticsearch_prefix} (or {opensearch_prefix})\n"
        "or give each worker a server: berth_elasticsearch_scope = worker (berth_opensearch_scope)",
    )
