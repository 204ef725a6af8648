"""Keeps the private databases of a worker: test after test gets one of them.

What a test has used is put back and used again, its connections kept open: that takes a
millisecond, while a clone takes ten or more. Where it cannot be put back, a clone takes its place.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, count
from typing import TYPE_CHECKING

import psycopg

from pytest_berth.errors import IsolationError
from pytest_berth.services.postgres.databases import run_databases
from pytest_berth.services.postgres.databases.pooled_database import PooledDatabase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from pytest_berth.api import Server
    from pytest_berth.run.timeline import Timeline
    from pytest_berth.services.postgres.application_connections import Application
    from pytest_berth.services.postgres.restore import Baseline

# What a clone that was being made fails with when the server crashes.
_LOST = (psycopg.OperationalError, TimeoutError)


@dataclass
class DatabasePool:
    """A worker's private databases: those in use, those to be used again, one made ahead.

    Attributes:
        server: Where they are.
        run_id: The run that they belong to, which their names tell.
        part: What their names have in common beside that: the worker's name.
        lock_timeout: Seconds to wait for locks that a test has left.
        application: The application's connections in this process.
        note: Tells the user what is left behind.
        timeline: Notes how long a clone takes.
        numbers: What tells their names apart.
        lent: Those that the running test has.
    """

    server: Server
    run_id: str
    part: str
    lock_timeout: float
    application: Application
    note: Callable[[str], None]
    timeline: Timeline
    numbers: count[int] = field(default_factory=lambda: count(1), repr=False)
    lent: list[PooledDatabase] = field(default_factory=list, init=False)
    _cut_off: bool = field(default=False, init=False)
    _open: list[PooledDatabase] = field(default_factory=list, init=False)
    _idle: dict[str, list[PooledDatabase]] = field(default_factory=dict, init=False)
    _baselines: dict[str, Baseline] = field(default_factory=dict, init=False)
    _ahead: dict[str, Future[PooledDatabase]] = field(default_factory=dict, init=False)
    _dropping: dict[str, Future[None]] = field(default_factory=dict, init=False)
    _thread: ThreadPoolExecutor | None = field(default=None, init=False, repr=False)

    @contextmanager
    def database(self, template: str) -> Iterator[PooledDatabase]:
        """Yield a database that is as *template*, and take it back.

        Raises:
            IsolationError: The template is not there, or others are connected to it.
        """
        private = self._take(template)
        self.lent.append(private)
        try:
            yield private
        finally:
            self.lent.remove(private)
            self._give_back(private)

    def is_cut_off(self) -> bool:
        """Tell whether the server has ended connections of berth's."""
        made = [ahead for ahead in self._ahead.values() if ahead.done() and not ahead.cancelled()]
        if self._cut_off or any(isinstance(each.exception(), _LOST) for each in made):
            return True
        ahead = (each.result() for each in made if not each.exception())
        return any(each.is_lost() for each in chain(ahead, *self._idle.values()))

    def close(self) -> None:
        """Close all connections; the databases go at the end of the run."""
        if self._thread:
            self._thread.shutdown(cancel_futures=True)
        for private in self._open:
            private.close()
        for name, dropped in self._dropping.items():
            error = None if dropped.cancelled() else dropped.exception()
            if error:
                self.note(f"postgres: the private database {name} could not be dropped: {error}")

    def _take(self, template: str) -> PooledDatabase:
        idle = self._idle.setdefault(template, [])
        while idle:
            private = idle.pop()
            if private.is_clean():
                return private
            self._replace(private)
        ahead = self._ahead.pop(template, None)
        return ahead.result() if ahead else self._clone(template)

    def _give_back(self, private: PooledDatabase) -> None:
        if private.set_aside:
            self._set_aside(private, private.set_aside)
        elif private.put_back():
            self._idle[private.template].append(private)
        else:
            self._cut_off |= private.is_lost()
            self._replace(private)

    def _set_aside(self, private: PooledDatabase, rename: Callable[[], None]) -> None:
        """Let a database stay as its test has left it; another one is cloned when it is needed."""
        self._open.remove(private)
        self.application.leave(private.name)
        private.close()
        try:
            rename()
        except (psycopg.Error, TimeoutError) as error:
            self.note(f"postgres: the private database {private.name} is not kept: {error}")

    def _replace(self, private: PooledDatabase) -> None:
        template = private.template
        if template not in self._ahead:
            self._ahead[template] = self._background().submit(self._clone, template)
        self._dropping[private.name] = self._background().submit(self._drop, private)

    def _background(self) -> ThreadPoolExecutor:
        if self._thread is None:
            # One thread: cloning disturbs the tests that run meanwhile.
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="berth-pg")
        return self._thread

    def _clone(self, template: str) -> PooledDatabase:
        with run_databases.administration(self.server) as connection:
            part = f"{self.part}_{next(self.numbers)}"
            name = run_databases.database_name(self.run_id, part)
            try:
                with self.timeline.measured("clone", self.server.service, detail=name):
                    run_databases.create(connection, self.server, self.run_id, name, template)
            except (psycopg.errors.InvalidCatalogName, psycopg.errors.ObjectInUse) as error:
                raise _not_cloned(template, error) from error
        like = self._baselines.get(template)
        private = PooledDatabase(
            self.server, name, template, self.lock_timeout, self.application, like
        )
        baseline = private.begin()
        if like is None:
            self._baselines[template] = baseline
        self._open.append(private)
        return private

    def _drop(self, private: PooledDatabase) -> None:
        private.close()
        self._open.remove(private)
        with run_databases.administration(self.server) as connection:
            run_databases.drop(connection, self.run_id, private.name)


def _not_cloned(template: str, error: psycopg.Error) -> IsolationError:
    why = "; ".join(filter(None, [error.diag.message_primary, error.diag.message_detail]))
    return IsolationError(
        f"the database {template!r} cannot be cloned.",
        why=why,
        remedy="name a database of the server that nobody is connected to",
    )
