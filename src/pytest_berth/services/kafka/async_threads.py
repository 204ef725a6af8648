"""The threads that an async probe works in: one for what is brief, and one for each that waits.

A connection takes one question at a time. So each thread has clients of its own, and what the sync
probe does meanwhile is not met.
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from pytest_berth.services.kafka import probe_records
from pytest_berth.services.kafka.probe import Probe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_berth.services.kafka.namespace import IsolatedTest

T = TypeVar("T")
_NAME = "berth-kafka"
_MOST_WAITING = 64


@dataclass
class Threads:
    """Runs what a probe does, for coroutines of any event loop.

    Attributes:
        isolated: What the test has on the broker.
    """

    isolated: IsolatedTest
    _one: ThreadPoolExecutor = field(init=False, repr=False)
    _many: ThreadPoolExecutor = field(init=False, repr=False)
    _idle: list[IsolatedTest] = field(default_factory=list, init=False, repr=False)
    _ends: list[threading.Event] = field(default_factory=list, init=False, repr=False)
    _open: ExitStack = field(default_factory=ExitStack, init=False, repr=False)

    def __post_init__(self) -> None:
        # Each starts its threads when there is something to do.
        self._one = ThreadPoolExecutor(1, _NAME)
        self._many = ThreadPoolExecutor(_MOST_WAITING, f"{_NAME}-wait")

    async def briefly(self, verb: Callable[[Probe], T]) -> T:
        """Do what takes milliseconds, one after the other in the order of the calls."""
        return await self._run(self._one, verb)

    async def waiting(self, verb: Callable[[Probe], T]) -> T:
        """Do what waits for others, beside everything else."""
        return await self._run(self._many, verb)

    def close(self) -> None:
        """End what is still waited for, and close all clients."""
        for end in self._ends:
            end.set()
        for executor in (self._one, self._many):
            executor.shutdown(cancel_futures=True)
        self._open.close()

    async def _run(self, executor: ThreadPoolExecutor, verb: Callable[[Probe], T]) -> T:
        end, context = threading.Event(), copy_context()
        probe_records.note_line(context)
        self._ends.append(end)

        def work() -> T:
            with self._lent() as isolated:
                return context.run(verb, Probe(isolated, end.is_set))

        try:
            return await asyncio.get_running_loop().run_in_executor(executor, work)
        finally:
            # Where the task was cancelled, the thread is told so, and nobody waits for it here.
            end.set()
            self._ends.remove(end)

    @contextmanager
    def _lent(self) -> Iterator[IsolatedTest]:
        """Yield what the test has there, with clients that no other thread uses meanwhile."""
        isolated = self._idle.pop() if self._idle else self._new()
        try:
            yield isolated
        finally:
            self._idle.append(isolated)

    def _new(self) -> IsolatedTest:
        clients = self.isolated.namespace.clients()
        self._open.callback(clients.close)
        return dataclasses.replace(self.isolated, clients=clients)
