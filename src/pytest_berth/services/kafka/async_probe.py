"""``kafka_async_probe``: the methods of ``kafka_probe``, to be awaited."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pytest_berth.services.kafka.keyword_arguments import by_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pytest_berth.services.kafka.async_threads import Threads
    from pytest_berth.services.kafka.record import Record


@dataclass
class AsyncProbe:
    """A test's view of Kafka, for asyncio, in whichever event loop the test runs.

    Each method does what that of `KafkaProbe` does, with the same arguments and errors, and gives
    way to the event loop meanwhile. Tasks may wait beside each other, and be cancelled; records are
    published in the order of the calls. Marks are shared with `kafka_probe`.
    """

    _threads: Threads = field(repr=False)

    @property
    def bootstrap(self) -> str:
        """The bootstrap servers, ``host:port``."""
        return self._threads.isolated.namespace.url

    @by_name
    async def topic(
        self,
        name: str | None = None,
        *,
        partitions: int = 1,
        config: Mapping[str, object] | None = None,
    ) -> str:
        """Create a topic of this test's own and return its name."""
        return await self._threads.briefly(
            lambda probe: probe.topic(name, partitions=partitions, config=config)
        )

    def group(self, name: str | None = None) -> str:
        """Return a consumer group's name of this test's own; it is not awaited."""
        return self._threads.isolated.name(name or "group")

    @by_name
    async def publish(
        self,
        topic: str,
        value: object,
        *,
        key: object = None,
        headers: Mapping[str, object] | list[tuple[str, object]] | None = None,
        partition: int | None = None,
    ) -> Record:
        """Publish a record, wait until the broker has it, and return it."""
        return await self._threads.briefly(
            lambda probe: probe.publish(topic, value, key=key, headers=headers, partition=partition)
        )

    @by_name
    async def collect(
        self,
        topic: str,
        n: int = 1,
        *,
        timeout: float = 5.0,
        where: Callable[[Record], bool] | None = None,
    ) -> list[Record]:
        """Return the first *n* records, waiting until they are there.

        Raises:
            AssertionError: There were fewer; it shows what is in the topic, and who reads it.
        """
        __tracebackhide__ = True
        return await self._threads.waiting(
            lambda probe: probe.collect(topic, n, timeout=timeout, where=where)
        )

    @by_name
    async def expect_one(
        self, topic: str, *, timeout: float = 5.0, where: Callable[[Record], bool] | None = None
    ) -> Record:
        """Return the one record there is, waiting until it is there.

        Raises:
            AssertionError: There was none in time, or there is more than one.
        """
        __tracebackhide__ = True
        return await self._threads.waiting(
            lambda probe: probe.expect_one(topic, timeout=timeout, where=where)
        )

    @by_name
    async def expect_none(
        self, topic: str, *, within: float = 0.5, where: Callable[[Record], bool] | None = None
    ) -> None:
        """See to it that no record comes.

        Raises:
            AssertionError: One came; it is raised at once.
        """
        __tracebackhide__ = True
        await self._threads.waiting(
            lambda probe: probe.expect_none(topic, within=within, where=where)
        )

    @by_name
    async def expect_dead_letter(
        self,
        topic: str,
        source: Record | str | None = None,
        *,
        timeout: float = 5.0,
        where: Callable[[Record], bool] | None = None,
    ) -> Record:
        """Return the one dead letter there is, waiting until it is there.

        Raises:
            AssertionError: There was none in time, or there is more than one.
        """
        __tracebackhide__ = True
        return await self._threads.waiting(
            lambda probe: probe.expect_dead_letter(topic, source, timeout=timeout, where=where)
        )

    async def mark(self, topic: str) -> None:
        """Begin to read the topic after what is in it now."""
        await self._threads.briefly(lambda probe: probe.mark(topic))

    @by_name
    async def wait_assigned(
        self, group: str, topic: str | None = None, *, timeout: float = 10.0
    ) -> None:
        """Wait until a group has settled and its consumers have their partitions.

        Raises:
            TimeoutError: It did not.
        """
        await self._threads.waiting(
            lambda probe: probe.wait_assigned(group, topic, timeout=timeout)
        )

    @by_name
    async def wait_caught_up(self, group: str, topic: str, *, timeout: float = 10.0) -> None:
        """Wait until a group has committed all records of a topic.

        Raises:
            AssertionError: It has not; it shows the group's lag.
        """
        __tracebackhide__ = True
        await self._threads.waiting(
            lambda probe: probe.wait_caught_up(group, topic, timeout=timeout)
        )

    async def lag(self, group: str, topic: str) -> int:
        """Return how many records of a topic a group has not committed yet."""
        return await self._threads.briefly(lambda probe: probe.lag(group, topic))
