"""A worker's place on the broker: its names, and the clean slates of its tests."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from pytest_berth.run.crash_recovery import raise_if_lost
from pytest_berth.services.kafka import names, topic_restore, topics, urls
from pytest_berth.services.kafka.clients import Clients
from pytest_berth.services.kafka.connection_errors import ERRORS
from pytest_berth.services.kafka.options import ALLOW_RESET
from pytest_berth.services.kafka.service import KAFKA
from pytest_berth.services.kafka.topic_restore import Cleaning

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pytest_berth.api import Server
    from pytest_berth.run.plugin_state import Berth
    from pytest_berth.services.kafka.topic_restore import Mark

_AT_ONCE = 50


@dataclass
class Slate:
    """What one test has on the broker.

    Attributes:
        workspace: The worker's place.
        clients: The test's clients, closed at its end.
        fixed: Topics with fixed names, as the application calls them and as they are called.
        title: The test's name, for the names of its topics.
        marks: Where reading begins, by topic; one without a mark is read from its beginning.
    """

    workspace: Workspace
    clients: Clients
    fixed: Mapping[str, str]
    title: str
    marks: dict[str, Mark] = field(default_factory=dict)

    def name(self, hint: str = "") -> str:
        """Return a new name of the test's own, for a topic or a group."""
        return self.workspace.name(f"{self.title}-{hint}" if hint else self.title)

    def topic(self, name: str) -> str:
        """Return the name that a topic has on the broker."""
        return self.fixed.get(name, name)


@dataclass
class Workspace:
    """A worker's place on the broker.

    Attributes:
        berth: The run.
        server: The broker.
        prefixed: Whether the application puts ``{kafka_prefix}`` before its topics.
    """

    berth: Berth
    server: Server
    prefixed: bool
    cluster_id: str = field(init=False)
    _names: count[int] = field(default_factory=lambda: count(1))
    _over: list[str] = field(default_factory=list)
    _told: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        # Of a cluster that is not ours, the first connection tells the id.
        self.cluster_id = self.server.credentials.database

    @property
    def bootstrap(self) -> str:
        """What a client takes as its bootstrap servers."""
        return urls.bootstrap(self.server)

    @property
    def is_alone(self) -> bool:
        """Whether nobody but this worker works on the broker."""
        return self.server.source != "external" and (
            bool(self.server.slot) or self.berth.run.workers == 1
        )

    def clients(self) -> Clients:
        """Return new clients; berth's own connections have to lead to the workspace's cluster."""
        return Clients(self.bootstrap, self.cluster_id)

    def name(self, hint: str) -> str:
        """Return a name that no other test has."""
        run = self.berth.run
        return names.name(run.id, run.worker, next(self._names), hint)

    def open(self, topics_: Sequence[str]) -> None:
        """Create the run's topics, in time for consumers that fixtures of a wider scope start.

        A consumer that joins its group before there is its topic may be left without partitions
        for minutes.

        Raises:
            NotOursError: Topics on an external broker may not be emptied.
        """
        fixed = self._fixed(topics_)
        with closing(self.clients()) as clients:
            topics.create_missing(clients.brokers, fixed.values())
            self.cluster_id = clients.brokers.cluster_id

    @contextmanager
    def slate(self, topics_: Sequence[str], title: str, test: str = "") -> Iterator[Slate]:
        """Give a test a clean slate, and clean up behind it.

        Args:
            topics_: The topics with fixed names that it uses.
            title: Its name, for the names of its topics.
            test: Its name, for the user.

        Raises:
            NotOursError: Topics on an external broker may not be emptied.
            LostError: The broker is lost.
        """
        self._renew_if_lost()
        with (
            raise_if_lost(self.berth, KAFKA, self.server, ERRORS),
            self._slate(topics_, title, test) as slate,
        ):
            yield slate

    @contextmanager
    def _slate(self, topics_: Sequence[str], title: str, test: str) -> Iterator[Slate]:
        fixed = self._fixed(topics_)
        with closing(self.clients()) as clients:
            cleaner = self._cleaning(clients, fixed, test or title)
            before = cleaner.begin()
            self.cluster_id = clients.brokers.cluster_id
            try:
                yield Slate(self, clients, fixed, title, dict(before.marks))
            finally:
                cleaner.end(before)
                self._delete_many(clients)

    def _cleaning(self, clients: Clients, fixed: Mapping[str, str], test: str) -> Cleaning:
        run = self.berth.run

        def tell(text: str) -> None:
            if text not in self._told:
                self._told.add(text)
                self.berth.progress.note(f"kafka: {test} {text}")

        return Cleaning(
            clients.brokers,
            tuple(fixed.values()),
            is_ours=self.server.source != "external",
            is_alone=self.is_alone,
            prefix=names.prefix(run.id, run.worker),
            spared=self._over,
            tell=tell,
        )

    def _renew_if_lost(self) -> None:
        """Go on with the broker, empty as it is, that takes the place of a lost one."""
        if self.berth.manager.is_lost(self.server):
            self.server = self.berth.server(KAFKA, self.server.slot)
            self._over.clear()

    def discard(self, topic: str) -> None:
        """Delete a test's own topic after it; at the latest with the broker, or with the run."""
        self._over.append(topic)

    def _fixed(self, topics_: Sequence[str]) -> dict[str, str]:
        """Return what topics are called on the broker, provided that they may be emptied there."""
        fixed = {topic: self._real(topic) for topic in topics_}
        run, allowed = self.berth.run, self.berth.settings[ALLOW_RESET]
        topic_restore.require_allowed(fixed.values(), self.server, run.id, allowed)
        return fixed

    def _real(self, topic: str) -> str:
        run = self.berth.run
        return f"{names.prefix(run.id, run.worker)}{topic}" if self.prefixed else topic

    def _delete_many(self, clients: Clients) -> None:
        """Deleting takes milliseconds, most of them however many topics there are."""
        if len(self._over) >= _AT_ONCE:
            topics.delete(clients.brokers, self._over)
            self._over.clear()
