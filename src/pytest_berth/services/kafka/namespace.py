"""What a worker has of a broker: its names, and the clean slates of its tests."""

from __future__ import annotations

from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from pytest_berth.api import Kept, Namespace
from pytest_berth.errors import NotKeptError
from pytest_berth.isolation import keep_failed
from pytest_berth.isolation.lifecycle import opened_for
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.services.kafka import (
    broker_state,
    changed_topics,
    error_details,
    left_open,
    names,
    restore,
    topics,
    topics_ahead,
    urls,
)
from pytest_berth.services.kafka.brokers import Brokers
from pytest_berth.services.kafka.clients import Clients
from pytest_berth.services.kafka.options import ALLOW_RESET, TOPICS
from pytest_berth.services.kafka.requirements import is_prefixed, topics_of
from pytest_berth.services.kafka.restore import Cleaning, Known
from pytest_berth.services.kafka.service import KAFKA
from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    import pytest

    from pytest_berth.api import Server, Worker
    from pytest_berth.services.kafka.restore import Before
    from pytest_berth.services.kafka.topics import Mark, Topic
    from pytest_berth.services.kafka.topics_ahead import TopicsAhead

_AT_ONCE = 50
# Seconds that all of a failed test's records may take to be copied.
_KEPT_WITHIN = 30.0
# A report waits no longer for answers, and asks a broker that gave none no more.
_REPORTED_WITHIN = 3.0


@dataclass
class IsolatedTest:
    """What one test has on the broker.

    Attributes:
        namespace: What the worker has of the broker.
        clients: The test's clients, closed at its end.
        fixed: Topics with fixed names, as the application calls them and as they are called.
        title: The test's name, for the names of its topics.
        marks: Where reading begins, by topic; one without a mark is read from its beginning.
        created: The topics that berth has created for the test, and ahead.
        before: What was there when it began.
        item: The test; None for one that may ask for Kafka only while it runs.
    """

    namespace: KafkaNamespace
    clients: Clients
    fixed: Mapping[str, str]
    title: str
    marks: dict[str, Mark] = field(default_factory=dict)
    created: list[Topic] = field(default_factory=list)
    before: Before | None = None
    item: pytest.Item | None = None

    def name(self, hint: str = "") -> str:
        """Return a new name of the test's own, for a topic or a group."""
        return self.namespace.name(f"{self.title}-{hint}" if hint else self.title)

    def topic(self, name: str) -> str:
        """Return the name that a topic has on the broker.

        Raises:
            TypeError: It is no text.
        """
        if not isinstance(name, str):
            raise TypeError(f"a topic is given by its name, a text, and not by {name!r}")
        return self.fixed.get(name, name)

    def known(self, real: str) -> Topic | None:
        """Return a topic as it was when it was last looked at; None where it was not there."""
        made = (each for each in reversed(self.created) if each.name == real)
        there = self.before.there if self.before else {}
        return next(made, None) or there.get(real)

    def made_ahead(self) -> Topic | None:
        """Return a new topic that was made ahead for the test, or is now, together with others.

        None where nobody can know that it is as new, and after the first call.
        """
        item, self.item = self.item, None
        space, before = self.namespace, self.before
        if item is None or before is None or before.position < 0 or not space.makes_ahead:
            return None
        if item.nodeid in space.ahead.topics:
            if self._are_as_before(item, before):
                return space.ahead.take(item, before.marks)
            space.ahead.give_up()
        names_ = {each.nodeid: space.name(each.name) for each in space.ahead.next_tests(item)}
        made = topics.create(
            self.clients.brokers, dict.fromkeys(names_.values(), topics_ahead.USUAL)
        )
        self.created += made.values()
        for name in made:
            space.discard(name)
        space.ahead.topics |= {test: made[name] for test, name in names_.items()}
        return space.ahead.topics.pop(item.nodeid)

    def _are_as_before(self, item: pytest.Item, before: Before) -> bool:
        """Tell whether nothing was changed on the broker since the test has its clean slate.

        That is asked where a fixture of the suite may have done so by now. The test itself cannot:
        its topic is taken before it begins. What a hook of a conftest file, or a thread of the
        application, has changed since the clean slate is not seen where no such fixture has begun.
        """
        opened = opened_for(item, KAFKA)
        if opened is not None and not opened.has_run_suite:
            return True
        position = broker_state.position(self.clients.brokers)
        return position == before.position + broker_state.written_for(self.created)


class KafkaNamespace(Namespace):
    """What a worker has of a broker.

    Args:
        server: The broker.
        worker: The worker.
        prefixed: Whether the application puts ``{kafka_prefix}`` before its topics.
    """

    def __init__(self, server: Server, worker: Worker, *, prefixed: bool) -> None:
        self.url = urls.bootstrap(server)
        # Of a cluster that is not ours, the first connection tells the id.
        self._cluster_id = server.credentials.database
        self._server = server
        self._worker = worker
        self._prefixed = prefixed
        self._names = count(1)
        self._over: list[str] = []
        self._told: set[str] = set()
        self._dirty: list[str] = []
        self._running: tuple[IsolatedTest, Before] | None = None
        self._is_silent = False
        self._brokers: Brokers | None = None
        self._known = Known()

    @property
    def config(self) -> pytest.Config:
        """Pytest's configuration."""
        return self._worker.config

    @property
    def is_alone(self) -> bool:
        """Whether nobody but this worker works on the broker."""
        return self._server.source != "external" and (
            bool(self._server.slot) or self._worker.workers == 1
        )

    @property
    def makes_ahead(self) -> bool:
        """Whether the tests come in the order in which they were collected, with none beside."""
        return self.is_alone and not self.dedicated and self._worker.workers == 1

    @property
    def ahead(self) -> TopicsAhead:
        """The topics that were made for coming tests."""
        return self._known.ahead

    def clients(self) -> Clients:
        """Return new clients; berth's own connections have to lead to the namespace's cluster."""
        return Clients(self.url, self._cluster_id)

    def close(self) -> None:
        """Close the connections that tests use one after the other."""
        if self._brokers:
            self._brokers.close()
        self._brokers = None

    def name(self, hint: str) -> str:
        """Return a name that no other test has."""
        return names.name(self._worker.run_id, self._worker.name, next(self._names), hint)

    def create_topics(self, topics_: Sequence[str]) -> None:
        """Create the run's topics, in time for consumers that fixtures of a wider scope start.

        A consumer that joins its group before there is its topic may be left without partitions
        for minutes.

        Raises:
            NotOursError: Topics on an external broker may not be emptied.
        """
        fixed = self._fixed(topics_)
        with closing(self.clients()) as clients:
            topics.create_missing(clients.brokers, fixed.values())
            self._cluster_id = clients.brokers.cluster_id

    @contextmanager
    def isolate(self, item: pytest.Item | None) -> Iterator[IsolatedTest | None]:
        """Give a test a clean slate, and clean up behind it.

        Of a test that may ask for Kafka only while it runs, the run's topics are emptied after it.

        Raises:
            NotOursError: Topics on an external broker may not be emptied.
        """
        if item is None:
            self._is_silent = False
            yield None
            if run_topics := self._worker.settings[TOPICS]:
                with self._isolated(run_topics, "late", "late"):
                    pass
            return
        with self._isolated(topics_of(item), item.name, item.nodeid) as isolated:
            isolated.item = item
            yield isolated

    def take_dirty(self) -> list[str]:
        """Return, once, the topics that were emptied or deleted."""
        found, self._dirty = self._dirty, []
        return found

    def keep(self, item: pytest.Item, name: str, until: float) -> list[Kept]:
        """Copy the records that a failed test has published into topics of their own."""
        if self._server.source == "external":
            why = "topics of a run go with it on brokers that others use"
            raise NotKeptError("no topic can be kept on an external Kafka.", why=why)
        if self._running is None:
            return []
        from pytest_berth.services.kafka import kept_topics

        isolated, before = self._running
        with closing(Brokers(self.url, self._cluster_id, now() + _KEPT_WITHIN)) as brokers:
            wanted = [
                topic
                for topic in topics.find(brokers)
                if topic not in self._over and self._is_ours([topic], isolated)
            ]
            if self.dedicated:
                return [Kept(topic) for topic in wanted]
            return kept_topics.keep(brokers, before.marks, wanted, name, until)

    def audit(self) -> Mapping[str, str | None]:
        """Return the topics and groups that are the worker's own."""
        from pytest_berth.services.kafka import audit

        with closing(self.clients()) as clients:
            return audit.of_worker(clients.brokers, self._is_own, self._over)

    def audit_server(self) -> Mapping[str, str | None]:
        """Return topics that workers share, and what the broker is set to, where it is ours."""
        from pytest_berth.services.kafka import audit

        if self._server.source == "external":
            return {}
        with closing(self.clients()) as clients:
            return audit.of_broker(clients.brokers, self._is_shared)

    def reopen(self, server: Server) -> None:
        """Go on with the broker, empty as it is, that takes the place of a lost one."""
        self._server = server
        self._over.clear()
        self._known = Known()
        self.close()

    def discard(self, topic: str) -> None:
        """Delete a test's own topic after it; at the latest with the broker, or with the run."""
        self._over.append(topic)

    def changes(self, item: pytest.Item) -> Sequence[str]:
        """Tell which records and topics have come, and how far groups have read them."""
        isolated, before = self._running or (None, None)

        def is_ours(topic: str) -> bool:
            return self._is_ours([topic], isolated) if isolated else topic in self._late_topics

        return self._reported(lambda brokers: changed_topics.lines(brokers, before, is_ours))

    def left_behind(self, item: pytest.Item) -> Sequence[str]:
        """Tell which groups have consumers, and which transactions are open."""
        if self._running is None:
            return ()
        isolated, before = self._running
        known = before.groups | isolated.clients.groups

        def is_ours(names_: Collection[str]) -> bool:
            return self._is_ours(names_, isolated)

        def is_own_group(name: str) -> bool:
            return self._is_ours([name])

        return self._reported(
            lambda brokers: left_open.lines(brokers, known, is_ours, is_own_group)
        )

    def explain(self, item: pytest.Item, error: BaseException) -> Sequence[str]:
        """Tell what the broker knows of an error of one of Kafka's clients."""
        found, (isolated, before) = error_details.find(error), self._running or (None, None)
        if found is None:
            return ()
        # Topics of earlier tests' own wait to be deleted.
        over = before.marks.keys() & set(self._over) if before else set()

        def is_ours(topic: str) -> bool:
            return topic not in over and self._is_ours([topic], isolated)

        return self._reported(lambda brokers: error_details.lines(brokers, found, is_ours))

    def shell(self, item: pytest.Item) -> str:
        """Return the command line of kcat, and how to look when the test has ended.

        It prints a topic of the test's, or tells which there are.
        """
        isolated, before = self._running or (None, None)
        own = [*isolated.fixed.values()] if isolated else []
        if isolated and before:
            own = [*(isolated.marks.keys() - before.marks.keys()), *own]
        command = urls.kcat(self._server, own[0] if own else "")
        return "\n".join(filter(None, [command, keep_failed.look_afterwards(item, self._server)]))

    @property
    def _late_topics(self) -> Collection[str]:
        """The topics that are emptied after a test that may ask for Kafka only while it runs."""
        return [self._real(topic) for topic in self._worker.settings[TOPICS]]

    def _is_ours(self, names_: Collection[str], isolated: IsolatedTest | None = None) -> bool:
        """Tell whether all of some names are those of this worker's topics or groups."""
        fixed = isolated.fixed.values() if isolated else ()
        prefix = names.prefix(self._worker.run_id, self._worker.name)
        own = self.is_alone or bool(names_)
        if not self.ahead.names.isdisjoint(names_):
            return False  # of a test that is to come
        return own and all(
            self.is_alone or name in fixed or name.startswith(prefix) for name in names_
        )

    def _reported(self, tell: Callable[[Brokers], Iterable[str]]) -> Sequence[str]:
        """Return what is told by connections of their own, which wait for a few seconds only."""
        if self._is_silent:
            return ()
        until = now() + _REPORTED_WITHIN
        with closing(Brokers(self.url, self._cluster_id, until)) as brokers:
            try:
                return list(tell(brokers))
            except OSError:
                self._is_silent = True
                raise

    @contextmanager
    def _isolated(self, topics_: Sequence[str], title: str, test: str) -> Iterator[IsolatedTest]:
        fixed = self._fixed(topics_)
        clients = Clients(self.url, brokers=self._settled())
        cleaner = self._cleaning(clients, fixed, test)
        before = cleaner.begin()
        cleaner.dirty.clear()
        self._cluster_id = clients.brokers.cluster_id
        isolated = IsolatedTest(self, clients, fixed, title, dict(before.marks), before=before)
        self._running, self._is_silent = (isolated, before), False
        try:
            # A record on its way would arrive, and make its topic again, after all is cleaned.
            with closing(clients):
                yield isolated
        finally:
            self._running = None
            cleaner.end(before, isolated.created)
            self._dirty = cleaner.dirty
            self._delete_many(clients)

    def _settled(self) -> Brokers:
        """Return the connections that stay open from test to test, those that still lead there."""
        if self._brokers is None:
            self._brokers = Brokers(self.url, self._cluster_id)
        self._brokers.settle()
        return self._brokers

    def _is_own(self, name: str) -> bool:
        prefix = names.prefix(self._worker.run_id, self._worker.name)
        return self.is_alone or name.startswith(prefix)

    def _is_shared(self, name: str) -> bool:
        return not (self.is_alone or name.startswith(names.run_prefix(self._worker.run_id)))

    def _cleaning(self, clients: Clients, fixed: Mapping[str, str], test: str) -> Cleaning:
        worker = self._worker

        def tell(text: str) -> None:
            if text not in self._told:
                self._told.add(text)
                worker.note(f"kafka: {test} {text}")

        return Cleaning(
            clients.brokers,
            tuple(fixed.values()),
            is_ours=self._server.source != "external",
            is_alone=self.is_alone,
            prefix=names.prefix(worker.run_id, worker.name),
            spared=self._over,
            known=self._known,
            tell=tell,
        )

    def _fixed(self, topics_: Sequence[str]) -> dict[str, str]:
        """Return what topics are called on the broker, provided that they may be emptied there."""
        fixed = {topic: self._real(topic) for topic in topics_}
        run_id, allowed = self._worker.run_id, self._worker.settings[ALLOW_RESET]
        restore.require_allowed(fixed.values(), self._server, run_id, allowed)
        return fixed

    def _real(self, topic: str) -> str:
        prefix = names.prefix(self._worker.run_id, self._worker.name)
        return f"{prefix}{topic}" if self._prefixed else topic

    def _delete_many(self, clients: Clients) -> None:
        """Deleting takes milliseconds, most of them however many topics there are."""
        over = [name for name in self._over if name not in self.ahead.names]
        # It is a change by which topics that were made ahead are given up.
        if len(over) >= (2 * _AT_ONCE if self.ahead.topics else _AT_ONCE):
            topics.delete(clients.brokers, over)
            self._over[:] = self.ahead.names


@contextmanager
def opened(server: Server, worker: Worker) -> Iterator[KafkaNamespace]:
    """Open what a worker has of a broker; on the shared one, the run's topics are there."""
    prefixed = is_prefixed(worker.config.stash[PLUGIN_STATE])
    with closing(KafkaNamespace(server, worker, prefixed=prefixed)) as namespace:
        if not worker.dedicated:
            namespace.create_topics(worker.settings[TOPICS])
        yield namespace
