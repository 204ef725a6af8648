"""Counts what a test's call sends to Postgres: its queries as part of a contract."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from pytest_berth.isolation import recorded_lines, repeated_statements, start_recording
from pytest_berth.isolation.recorder import CALL
from pytest_berth.services.postgres.service import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from pytest_berth.isolation.recorder import Record

_MOST_SHOWN = 30
# They come with each unit of work, and are no queries; of drivers' own none is seen.
_TRANSACTION_CONTROL = frozenset(
    {"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "SAVEPOINT", "RELEASE"}
)


class Statement(NamedTuple):
    """A statement that a test has sent.

    Attributes:
        text: The statement, as the driver was given it; a very long one is cut.
        line: File and line of the suite, or the application, that sent it: ``"shop/api.py:12"``.
        seconds: How long it took.
        rows: Rows that came back or were changed; None where that is not known.
        error: What it failed with; empty where it did not.
    """

    text: str
    line: str
    seconds: float
    rows: int | None
    error: str

    def __str__(self) -> str:
        return f"{self.line}  {' '.join(self.text.split())}"


class Repeated(NamedTuple):
    """Statements of one shape, which differ in their values only, that one line has sent.

    Attributes:
        text: The first of them.
        line: File and line that sent them.
        times: How many there are.
        relationship: What SQLAlchemy loaded by them as it was read, such as ``"Order.items"``;
            empty for others.
    """

    text: str
    line: str
    times: int
    relationship: str

    def __str__(self) -> str:
        of = f", loading {self.relationship}" if self.relationship else ""
        return f"{self.times} times from {self.line}{of}: {' '.join(self.text.split())}"


class Queries:
    """What the test has sent to Postgres since its call has begun, or within a ``with`` block.

    What fixtures send before and after is not counted, nor is transaction control: ``BEGIN``,
    ``COMMIT``, ``ROLLBACK`` and savepoints. Called, it gives a context manager.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._records: list[Record] = []
        self._inner: list[Queries] = []

    @property
    def statements(self) -> list[Statement]:
        """The statements, in the order in which they were sent."""
        return [
            Statement(
                each.text,
                recorded_lines.place(each.line, self._root),
                each.seconds,
                each.rows,
                each.error,
            )
            for each in self._records
        ]

    @property
    def count(self) -> int:
        """How many there are; one with several sets of parameters (``executemany``) is one."""
        return len(self._records)

    def repeated(self, more_than: int = 1) -> list[Repeated]:
        """Return the statements of one shape that one line has sent more often than that.

        Args:
            more_than: How often is often.
        """
        return [
            Repeated(
                each.records[0].text,
                recorded_lines.place(each.line, self._root),
                len(each.records),
                each.line.relationship,
            )
            for each in repeated_statements.find(self._records, more_than)
        ]

    def __call__(self, *, at_most: int | None = None, exactly: int | None = None) -> Counted:
        """Return a context manager that counts what is sent in it, and checks that at its end.

        Args:
            at_most: How many statements may be sent there.
            exactly: How many have to be.
        """
        return Counted(self, Queries(self._root), at_most, exactly)

    def add(self, inner: Queries) -> None:
        """Let what is sent be counted by others, too."""
        self._inner.append(inner)

    def remove(self, inner: Queries) -> None:
        """Let others count no more."""
        self._inner.remove(inner)

    def problem(self, at_most: int | None, exactly: int | None = None) -> str:
        """Return what is wrong with the number of statements, and list them; nothing if right."""
        count = self.count
        if exactly is not None and count != exactly:
            wanted = f"exactly {exactly} expected"
        elif at_most is not None and count > at_most:
            wanted = f"at most {at_most} allowed"
        else:
            return ""
        told = f"{count} {'statement' if count == 1 else 'statements'} sent, {wanted}."
        return "\n".join([told, *self._listed()])

    def see(self, record: Record) -> None:
        """Take in what is being sent."""
        if record.service == POSTGRES.name and record.phase == CALL and not _is_control(record):
            self._records.append(record)
            for inner in list(self._inner):
                inner.see(record)

    def _listed(self) -> list[str]:
        lines = recorded_lines.lines(self._records, self._root) if self._records else []
        if len(lines) > _MOST_SHOWN:
            lines[_MOST_SHOWN:] = [f"   ... {len(lines) - _MOST_SHOWN} more lines"]
        return [*lines, *(f"  repeated {each}" for each in self.repeated())]


class Counted:
    """A context manager: it counts what is sent within its block."""

    def __init__(
        self, outer: Queries, inner: Queries, at_most: int | None, exactly: int | None
    ) -> None:
        self._outer = outer
        self._inner = inner
        self._at_most = at_most
        self._exactly = exactly

    def __enter__(self) -> Queries:
        """Begin to count; what is returned tells more than the number."""
        self._outer.add(self._inner)
        return self._inner

    def __exit__(self, kind: object, *_: object) -> None:
        """Check the number, unless the block has failed.

        Raises:
            AssertionError: It is another one; the statements are listed with their lines.
        """
        __tracebackhide__ = True
        self._outer.remove(self._inner)
        problem = self._inner.problem(self._at_most, self._exactly)
        if problem and kind is None:
            raise AssertionError(problem)


class QueryLimit:
    """A plugin for as long as a test runs that may send only so many statements."""

    def __init__(self, most: int) -> None:
        self._most = most

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, object, object]:
        """Fail the test where it has passed, but sent more."""
        with counted(item.config) as queries:
            result = yield
        problem = queries.problem(self._most)
        if problem:
            what, _, listed = problem.partition("\n")
            why = f"  why: @pytest.mark.berth_pg(max_queries={self._most})"
            pytest.fail("\n".join([what, why, listed]), pytrace=False)
        return result


@contextmanager
def limited(config: pytest.Config, most: int) -> Iterator[None]:
    """Hold the test that is being set up to a number of statements, until it has ended."""
    name = config.pluginmanager.register(QueryLimit(most))
    try:
        yield
    finally:
        config.pluginmanager.unregister(name=name)


@contextmanager
def counted(config: pytest.Config) -> Iterator[Queries]:
    """Count what the running test sends."""
    recorder = start_recording.start_always(config)
    queries = Queries(config.rootpath)
    recorder.listeners.append(queries.see)
    try:
        yield queries
    finally:
        recorder.listeners.remove(queries.see)


def _is_control(record: Record) -> bool:
    first = record.text.lstrip()[:12].partition(" ")[0].rstrip(";").upper()
    return first in _TRANSACTION_CONTROL
