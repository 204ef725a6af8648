"""`kafka_async_probe`: tasks go on while it waits, and what is cancelled ends."""

from __future__ import annotations

import asyncio
import threading
from inspect import getmembers, isfunction, signature
from typing import TYPE_CHECKING

import pytest

from pytest_berth.services.kafka.async_probe import AsyncProbe
from pytest_berth.services.kafka.probe import Probe
from pytest_berth.waiting import wait_for_async

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Project


def test_it_has_the_methods_of_the_sync_probe() -> None:
    def methods(probe: type[object]) -> dict[str, list[tuple[str, object]]]:
        found = getmembers(probe, isfunction)
        return {
            name: [(each.name, each.default) for each in signature(method).parameters.values()]
            for name, method in found
            if not name.startswith("_")
        }

    assert methods(AsyncProbe) == methods(Probe)


def test_tasks_wait_beside_each_other_and_beside_the_sync_probe(
    kafka_async_probe: AsyncProbe, kafka_probe: Probe
) -> None:
    async def work() -> None:
        first, second = await kafka_async_probe.topic("first"), await kafka_async_probe.topic()
        waiting = [
            asyncio.create_task(kafka_async_probe.expect_one(topic, timeout=30))
            for topic in (first, second)
        ]
        await kafka_async_probe.expect_none(first, within=0.1)
        kafka_probe.publish(first, "by the sync probe")
        assert kafka_probe.expect_one(first).text() == "by the sync probe"
        assert await waiting[0] == kafka_probe.expect_one(first)
        assert not waiting[1].done()
        sent = await kafka_async_probe.publish(second, {"n": 1}, key="k", headers={"h": "1"})
        assert await waiting[1] == sent
        kafka_probe.mark(second)
        await kafka_async_probe.expect_none(second, within=0.1)
        group = kafka_async_probe.group()
        assert group != kafka_probe.group()
        assert await kafka_async_probe.lag(group, first) == 1

    asyncio.run(work())


def test_records_are_published_in_the_order_of_the_calls(
    kafka_async_probe: AsyncProbe, kafka_topic: str
) -> None:
    async def work() -> list[str]:
        await asyncio.gather(
            *(kafka_async_probe.publish(kafka_topic, str(number)) for number in range(20))
        )
        return [each.text() for each in await kafka_async_probe.collect(kafka_topic, 20)]

    assert asyncio.run(work()) == [str(number) for number in range(20)]


@pytest.mark.parametrize(
    "verb",
    [
        lambda probe, topic: probe.collect(topic, 3, timeout=60),
        lambda probe, topic: probe.expect_one("no such topic", timeout=60),
        lambda probe, topic: probe.wait_assigned("no such group", timeout=60),
        lambda probe, topic: probe.wait_caught_up("no such group", topic, timeout=60),
    ],
    ids=["collect", "no topic", "wait_assigned", "wait_caught_up"],
)
def test_a_cancelled_task_lets_its_thread_end(
    kafka_async_probe: AsyncProbe, kafka_topic: str, verb: Callable[[Probe, str], object]
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def work(probe: Probe) -> None:
        begun.set()
        try:
            verb(probe, kafka_topic)
        finally:
            ended.set()

    async def cancelled() -> None:
        await kafka_async_probe.publish(kafka_topic, "which no group has read")
        task = asyncio.create_task(kafka_async_probe._threads.waiting(work))
        await wait_for_async(begun.is_set, 60)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancelled())
    assert ended.wait(30)


def test_it_works_under_pytest_asyncio_and_anyio(on_broker: Project) -> None:
    on_broker.plugins = ("asyncio", "anyio")
    on_broker.ini(
        "asyncio_mode = strict",
        "asyncio_default_fixture_loop_scope = function",
        "filterwarnings = error",
    )
    on_broker.write(
        test_it="""
        import asyncio
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        async def check(probe, topic):
            waiting = asyncio.ensure_future(probe.collect(topic))
            await probe.publish(topic, "x")
            assert [record.text() for record in await waiting] == ["x"]

        @pytest.mark.asyncio
        async def test_asyncio(kafka_async_probe, kafka_topic):
            await check(kafka_async_probe, kafka_topic)

        @pytest.mark.asyncio(loop_scope="module")
        async def test_loop_of_the_module(kafka_async_probe, kafka_topic):
            await check(kafka_async_probe, kafka_topic)

        @pytest.mark.anyio
        async def test_anyio(kafka_async_probe, kafka_topic):
            await check(kafka_async_probe, kafka_topic)

        @pytest.mark.asyncio
        async def test_what_is_left_waiting_does_not_hold_up_the_end(kafka_async_probe):
            asyncio.ensure_future(kafka_async_probe.expect_one("nothing", timeout=3600))
            await asyncio.sleep(0)

        @pytest.mark.asyncio
        async def test_a_failure_shows_the_topic(kafka_async_probe, kafka_topic):
            await kafka_async_probe.expect_one(kafka_topic, timeout=0.1)
        """
    )
    result = on_broker.run()
    result.assert_outcomes(passed=4, failed=1)
    result.stdout.fnmatch_lines(["E * no record came to * within 0.1 s*", "*partition*"])
