"""The clean slate of a test: what was there before it, and the way back to that.

Topics with fixed names keep their settings and partitions, lose their records, and are forgotten by
every consumer group. A group's committed offset outlives the records. Where it lies before what is
kept, or beyond the end of a topic that was made anew, a consumer goes by its ``auto.offset.reset``:
with ``latest`` it would miss records, with ``none`` it would fail. Without an offset the group is
new to the topic, in every test as in the first.

Where nobody else works on the broker meanwhile, everything is put back: what is there beside these
topics, groups, and the settings of the broker itself.
"""

from __future__ import annotations

import itertools
from contextlib import closing
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pytest_berth.debug_log import ignoring
from pytest_berth.errors import IsolationError
from pytest_berth.services.kafka import broker_state, names, topics, transactions, urls
from pytest_berth.services.kafka.brokers import Brokers
from pytest_berth.services.kafka.connection import Repeated
from pytest_berth.services.kafka.consumer_groups import OFFSETS_TOPIC, Groups
from pytest_berth.services.kafka.kafka_python import errors as kafka_errors
from pytest_berth.services.kafka.topics_ahead import TopicsAhead
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from pytest_berth.api import Server
    from pytest_berth.services.kafka.broker_state import BrokerState
    from pytest_berth.services.kafka.topics import Offsets, Topic

_APPLIED_WITHIN = 5.0
# A broker may not lead yet what the last test's end has not waited for.
_LED_WITHIN = 20.0
_GONE_WITHIN = 10.0


@dataclass(frozen=True)
class Before:
    """What was there before a test.

    Attributes:
        there: All topics, Kafka's own among them.
        fixed: The topics with fixed names, with their settings.
        marks: Where each topic ended.
        groups: The consumer groups.
        state: What the broker was set to; None where others use it, too.
        position: How much the controller had written down; -1 if unknown.
    """

    there: Mapping[str, Topic]
    fixed: Mapping[str, Topic]
    marks: dict[str, topics.Mark]
    groups: frozenset[str]
    state: BrokerState | None
    position: int


@dataclass
class Known:
    """What one test's end has left, so that the next one's beginning need not ask for it.

    Attributes:
        state: What the broker was set to; None if unknown.
        there: All topics, Kafka's own among them; None if unknown.
        fixed: The topics with fixed names, with their settings.
        position: How much the controller had written down by then; -1 if unknown.
        ahead: Topics that were made for coming tests, and are as they were.
        asked: Topics, and the question where they end: it is the same from test to test.
        left_groups: The names of earlier tests' groups that somebody was still in.
    """

    state: BrokerState | None = None
    there: Mapping[str, Topic] | None = None
    fixed: Mapping[str, Topic] = field(default_factory=dict)
    position: int = -1
    ahead: TopicsAhead = field(default_factory=TopicsAhead)
    asked: tuple[Mapping[str, Topic], Repeated] | None = None
    left_groups: set[str] = field(default_factory=set)

    def where_they_end(self, there: Mapping[str, Topic]) -> Repeated:
        """Return the question where topics end."""
        if self.asked is None or self.asked[0] is not there:
            parts = _partitions(_readable(there))
            self.asked = there, Repeated(topics.offsets_request(parts, topics.LATEST))
        return self.asked[1]

    def forget(self) -> None:
        """Know nothing any more: it may have changed."""
        self.state = self.there = None
        self.fixed, self.position = {}, -1


@dataclass
class Cleaning:
    """Gives clean slates on a cluster.

    Attributes:
        brokers: The cluster.
        fixed: The topics with fixed names, as they are called there.
        is_ours: Whether berth has started the broker.
        is_alone: Whether nobody but this worker works on it.
        prefix: What the names of the worker begin with.
        spared: Topics that are deleted later, many at once.
        known: What the last test has left.
        tell: Tells the user of what could only be put back in a way that others may notice.
        dirty: The topics that were emptied or deleted.
    """

    brokers: Brokers
    fixed: Collection[str]
    is_ours: bool
    is_alone: bool
    prefix: str
    spared: Collection[str] = ()
    known: Known = field(default_factory=Known)
    tell: Callable[[str], None] = field(default=lambda text: None)
    dirty: list[str] = field(default_factory=list, init=False)
    _have_groups: bool = field(default=False, init=False)

    def begin(self) -> Before:
        """Empty the topics with fixed names, and return what is there.

        Raises:
            IsolationError: They cannot be emptied.
        """
        there, ends = self._look_around()
        if self.fixed and not there.keys() >= set(self.fixed):
            topics.create_missing(self.brokers, self.fixed)
            there, ends = self._look_around()
        self._have_groups = OFFSETS_TOPIC in there
        if transactions.STATE_TOPIC in there:
            self._abort_open()
            there, ends = self._look_around()
        position = self.known.position
        if self.known.fixed.keys() != set(self.fixed):
            self.known.fixed = topics.describe(self.brokers, self.fixed)
        fixed = self.known.fixed
        if fixed or ends is None:
            self._empty(fixed)
            there, ends = self._ends(there)
        marks = {name: topics.Mark(there[name].id, offsets) for name, offsets in ends.items()}
        groups = self._groups_there()
        if fixed:
            groups.forget(_partitions(fixed.values()))
        found = groups.all()
        # Of an earlier test's, one that was left by now goes; the others, at the end of this one.
        groups.delete(
            name for name in self.known.left_groups & found.keys() if found[name].has_ended
        )
        known = frozenset(found.keys() - self.known.left_groups)
        return Before(there, fixed, marks, known, self._look(), position)

    def _look_around(self) -> tuple[Mapping[str, Topic], Mapping[str, Offsets] | None]:
        """Return all topics, and where they end, as far as that is known with the same question.

        Where nobody else writes, topics are known from the last test as long as the controller has
        written nothing down. Else the broker is waited for, which may lag behind the controller.
        """
        known, brokers = self.known, self.brokers
        before, there = known.position, known.there
        if there is not None and before >= 0:
            position, ends = self._look_again(there)
            if position == before:
                return there, ends
        known.forget()
        known.ahead.give_up()
        if self.is_ours:
            if self.is_alone:
                broker_state.catch_up(brokers)
            known.position = broker_state.position(brokers)
        there = topics.everything(brokers)
        if self.is_alone:
            known.there = there
        return there, None

    def _look_again(self, there: Mapping[str, Topic]) -> tuple[int, Mapping[str, Offsets] | None]:
        """Return the controller's position, and where topics end if they are those still."""
        if self.fixed or len(self.brokers.nodes()) > 1:
            return broker_state.position(self.brokers), None
        answer, told = self.brokers.ask_together(
            [broker_state.position_request(), self.known.where_they_end(there)]
        )
        ends: Mapping[str, Offsets] | None = None
        with ignoring(*topics.NOT_YET, why="it is asked again"):
            ends = topics.told_offsets(told)
        return broker_state.told_position(answer), ends

    def _ends(
        self, there: Mapping[str, Topic]
    ) -> tuple[Mapping[str, Topic], Mapping[str, Offsets]]:
        """Return where every topic ends that can be read, and the topics.

        They are looked at again where a broker does not know one of them: others may delete theirs.
        """
        looks = itertools.chain([there], iter(lambda: topics.everything(self.brokers), None))

        def ask() -> tuple[Mapping[str, Topic], Mapping[str, Offsets]]:
            found = next(looks)
            return found, topics.offsets(self.brokers, _readable(found), topics.LATEST)

        return wait_for(ask, _LED_WITHIN, ignore=topics.NOT_YET, message="the offsets of topics")

    def _look(self) -> BrokerState | None:
        """Return what the broker is set to, where nobody else changes it."""
        if not self.is_alone:
            return None
        return self.known.state or broker_state.look(self.brokers)

    def end(self, before: Before, created: Sequence[Topic] = ()) -> None:
        """Put everything back; what fails of it does not keep the rest from it.

        Args:
            before: What there was.
            created: The topics that berth has created for the test, and that stay.

        Raises:
            IsolationError: Something cannot be put back.
        """
        self.known.forget()
        steps: list[Callable[[Before], None]]
        if self._is_as_before(before, created):
            has_any = transactions.STATE_TOPIC in before.there
            steps = [*[self._end_transactions] * has_any, self._emptied, self._groups]
        else:
            steps = [self._end_transactions, self._fixed, self._others, self._groups, self._state]
        problems: list[Exception] = []
        for step in steps:
            try:
                step(before)
            except (IsolationError, kafka_errors.KafkaError) as problem:
                problems.append(problem)
        if problems:
            raise problems[0]

    def _is_as_before(self, before: Before, created: Sequence[Topic]) -> bool:
        """Tell whether the controller has written nothing down; else see to it that it is seen.

        What it has written for topics that stay does not count: where there is no more than that,
        there is nothing else.
        """
        if not self.is_ours:
            return False
        position = broker_state.position(self.brokers)
        if 0 <= before.position == position - broker_state.written_for(created):
            if self.is_alone:
                self.known.state, self.known.position = before.state, position
                made = {each.name: each for each in created}
                self.known.there = {**before.there, **made} if made else before.there
                self.known.fixed = before.fixed
            return True
        broker_state.catch_up(self.brokers)
        return False

    def _emptied(self, before: Before) -> None:
        if before.fixed:
            self._empty(before.fixed)
            self._groups_there().forget(_partitions(before.fixed.values()))

    def _end_transactions(self, before: Before) -> None:
        """End what the test has left open; notes whether there has been any group."""
        asked = [transactions.STATE_TOPIC, OFFSETS_TOPIC]
        there = topics.find(self.brokers, asked)
        self._have_groups = OFFSETS_TOPIC in there
        if transactions.STATE_TOPIC in there:
            self._abort_open()

    def _abort_open(self) -> None:
        for name in transactions.end_all(self.brokers, self._may_end):
            self.tell(f"left the transaction of {name!r} open: it was aborted, its producer fenced")

    def _may_end(self, written: Collection[str]) -> bool:
        # The offsets of a group that it commits besides do not tell whose it is.
        own = set(written) - {OFFSETS_TOPIC}
        return self.is_alone or (
            bool(own) and all(name in self.fixed or name.startswith(self.prefix) for name in own)
        )

    def _fixed(self, before: Before) -> None:
        """Give topics with fixed names their partitions and settings back, and empty them."""
        if not before.fixed:
            return
        after = topics.describe(self.brokers, before.fixed)
        gone = [each for name, each in before.fixed.items() if name not in after]
        if gone:
            topics.create(
                self.brokers,
                {each.name: (len(each.leaders), each.replicas, each.configs) for each in gone},
                there=True,
            )
        unlike = [
            before.fixed[name]
            for name, topic in after.items()
            if not topic.is_like(before.fixed[name])
        ]
        self._make_anew(unlike, "changed the number of its partitions")
        rest = {name: topic for name, topic in after.items() if before.fixed[name] not in unlike}
        changed = {n for n, topic in rest.items() if topic.configs != before.fixed[n].configs}
        topics.configure_as(self.brokers, before.fixed, {name: rest[name] for name in changed})
        self._empty({**rest, **{n: before.fixed[n] for n in changed}}, changed)
        Groups(self.brokers).forget(_partitions(before.fixed.values()))

    def _empty(self, there: Mapping[str, Topic], changed: Collection[str] = ()) -> None:
        """Delete all records of topics.

        Args:
            there: The topics, as they are to be.
            changed: Those whose settings the broker may not have seen yet.
        """
        # The broker of a topic that was just created may not know yet that it leads it.
        starts, ends = wait_for(
            lambda: tuple(
                topics.offsets(self.brokers, there.values(), at)
                for at in (topics.EARLIEST, topics.LATEST)
            ),
            _APPLIED_WITHIN,
            ignore=topics.NOT_YET,
            message="the offsets of topics",
        )
        filled = {
            name: offsets
            for name, offsets in ends.items()
            if any(end > starts[name][part] for part, end in offsets.items())
        }
        self.dirty += filled
        refused = self._delete(there, filled)
        if refused & set(changed):
            with ignoring(TimeoutError, why="as a last resort, topics are made anew"):
                wait_for(lambda: not self._delete(there, filled) & set(changed), _APPLIED_WITHIN)
                refused -= set(changed)
        self._make_anew(
            [there[name] for name in sorted(refused)],
            "wrote to it, and it is compacted (cleanup.policy=compact)",
        )

    def _delete(self, there: Mapping[str, Topic], filled: Mapping[str, Offsets]) -> set[str]:
        (refused,) = wait_for(
            lambda: (topics.delete_records(self.brokers, there.values(), filled),),
            _APPLIED_WITHIN,
            ignore=topics.NOT_YET,
            message="the end of the records",
        )
        return refused

    def _make_anew(self, wanted: Sequence[Topic], why: str) -> None:
        if not wanted:
            return
        listed = ", ".join(each.name for each in wanted)
        if not self.is_ours:
            raise IsolationError(
                f"the topic {listed} cannot be put back.",
                why=f"a test {why}, and the broker is not berth's: nothing is deleted and made"
                " anew there",
                remedy="create it for tests with cleanup.policy=compact,delete, leave its"
                " partitions alone, or use a topic of the test's own:"
                " kafka_probe.topic(config=...)",
            )
        topics.make_anew(self.brokers, wanted)
        self.tell(f"{why}: the topic {listed} was deleted and made anew")

    def _others(self, before: Before) -> None:
        """Delete the topics that the test has made, but those that somebody still reads."""
        there = topics.find(self.brokers)
        known = {*before.marks, *before.fixed, *self.spared}
        new = {
            name: topic
            for name, topic in there.items()
            if name not in known and self._is_the_tests(name)
        }
        if not new:
            return
        held = self._held()
        self.dirty += [name for name in new if name not in held]
        topics.delete(self.brokers, [name for name in new if name not in held])
        self._empty({name: topic for name, topic in new.items() if name in held and topic.is_led})

    def _is_the_tests(self, name: str) -> bool:
        return self.is_alone or name.startswith(self.prefix)

    def _held(self) -> set[str]:
        """Return the topics that consumers have which have outlived the test."""
        groups = Groups(self.brokers)
        living = [name for name, group in groups.all().items() if not group.has_ended]
        found = (groups.find(name) for name in living)
        return {topic for group in found if group for topic, _ in group.held}

    def _groups(self, before: Before) -> None:
        """Delete the groups of the test that nobody is in any more."""
        groups = self._groups_there()
        new = {
            name: group
            for name, group in groups.all().items()
            if name not in before.groups and self._is_the_tests(name)
        }
        groups.delete(name for name, group in new.items() if group.has_ended)
        self.known.left_groups = {name for name, group in new.items() if not group.has_ended}

    def _groups_there(self) -> Groups:
        return Groups(self.brokers, self._have_groups)

    def _state(self, before: Before) -> None:
        if before.state is None:
            return
        left = broker_state.put_back(self.brokers, before.state)
        if left:
            raise IsolationError(
                f"what the test has changed on the broker cannot be put back: {', '.join(left)}.",
                why="Kafka tells nobody what it was before",
                remedy="give such a test a broker of its own:"
                " @pytest.mark.berth_kafka(scope='test')",
            )


def require_allowed(
    names_: Iterable[str], server: Server, run_id: str, allowed: Sequence[str]
) -> None:
    """Refuse to empty topics on a broker that is not ours, unless the settings name them.

    Raises:
        NotOursError: A topic is neither this run's nor allowed.
    """
    if server.source != "external":
        return
    for topic in names_:
        if not any(fnmatchcase(topic, pattern) for pattern in allowed):
            names.require_ours(topic, run_id)


def release(server: Server, run_id: str) -> None:
    """Delete the topics and groups of a run."""
    with closing(Brokers(urls.bootstrap(server), server.credentials.database)) as brokers:
        prefix, groups = names.run_prefix(run_id), Groups(brokers)
        topics.delete(brokers, [name for name in topics.find(brokers) if name.startswith(prefix)])
        groups.delete([name for name in groups.all() if name.startswith(prefix)])


def _readable(there: Mapping[str, Topic]) -> list[Topic]:
    return [topic for topic in topics.visible(there).values() if topic.is_led]


def _partitions(there: Iterable[Topic]) -> dict[str, list[int]]:
    return {topic.name: sorted(topic.leaders) for topic in there}
