"""What kafka-python and aiokafka publish and consume: told to a recorder, with the line it is by.

confluent-kafka does its work in C, where nothing can be seen: what it has published is in the
report's section of what has changed.
"""

from __future__ import annotations

import reprlib
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any

from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

    from pytest_berth.isolation.application_lines import Line
    from pytest_berth.isolation.driver_hooks import Hooks
    from pytest_berth.isolation.recorder import Recorder

SERVICE = "kafka"
_GIVEN = ("topic", "value", "key")
_PLAIN = (bytes, str, int, float, type(None))


def record(value: Any, key: Any, headers: Any) -> dict[str, Any]:
    """Return what is told of a record: value, key and headers as far as they are there."""
    told = {"key": key, "value": value}
    pairs = headers.items() if isinstance(headers, dict) else headers or ()
    told |= {f"header {name}": each for name, each in pairs}
    return {
        name: each if isinstance(each, _PLAIN) else reprlib.repr(each)
        for name, each in told.items()
        if each is not None or name == "value"
    }


def _published(args: tuple[Any, ...], options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    given = {**dict(zip(_GIVEN, args, strict=False)), **options}
    told = record(given.get("value"), given.get("key"), given.get("headers"))
    return f"publish to {given.get('topic')}", told


def _send(original: Any, recorder: Recorder) -> Any:
    @wraps(original)
    def send(producer: Any, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        line = recorder.sender(sys._getframe(1))
        if line is None:
            return original(producer, *args, **options)
        text, told = _published(args, options)
        started = now()

        def fail(error: BaseException) -> None:
            recorder.add(SERVICE, text, line, started, parameters=told, error=error)

        try:
            future = original(producer, *args, **options)
        except BaseException as error:
            fail(error)
            raise
        recorder.add(SERVICE, text, line, started, parameters=told)
        future.add_errback(fail)
        return future

    return send


def _send_async(original: Any, recorder: Recorder) -> Any:
    @wraps(original)
    async def told(line: Line, producer: Any, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        text, parameters = _published(args, options)
        started = now()
        try:
            result = await original(producer, *args, **options)
        except BaseException as error:
            recorder.add(SERVICE, text, line, started, parameters=parameters, error=error)
            raise
        recorder.add(SERVICE, text, line, started, parameters=parameters)
        return result

    # Not async itself: a task that runs it later would not have the line.
    @wraps(original)
    def send(producer: Any, *args: Any, **options: Any) -> Any:
        line = recorder.sender(sys._getframe(1))
        if line is None:
            return original(producer, *args, **options)
        return told(line, producer, *args, **options)

    return send


def _send_and_wait_async(original: Any, recorder: Recorder) -> Any:
    """Tell of what the broker refuses: that it was sent is told by `send`."""

    @wraps(original)
    async def told(line: Line, producer: Any, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        started = now()
        try:
            return await original(producer, *args, **options)
        except BaseException as error:
            text, parameters = _published(args, options)
            recorder.add(SERVICE, text, line, started, parameters=parameters, error=error)
            raise

    @wraps(original)
    def send_and_wait(producer: Any, *args: Any, **options: Any) -> Any:
        line = recorder.sender(sys._getframe(1))
        if line is None:
            return original(producer, *args, **options)
        return told(line, producer, *args, **options)

    return send_and_wait


def _poll(original: Any, recorder: Recorder) -> Any:
    @wraps(original)
    def poll(consumer: Any, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        line = recorder.sender(sys._getframe(1))
        started = now()
        found = original(consumer, *args, **options)
        if line is not None:
            _tell_consumed(recorder, line, started, found)
        return found

    return poll


def _get_async(original: Any, recorder: Recorder) -> Any:
    @wraps(original)
    async def told(line: Line, consumer: Any, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        started = now()
        found = await original(consumer, *args, **options)
        _tell_consumed(recorder, line, started, found)
        return found

    @wraps(original)
    def get(consumer: Any, *args: Any, **options: Any) -> Any:
        line = recorder.sender(sys._getframe(1))
        if line is None:
            return original(consumer, *args, **options)
        return told(line, consumer, *args, **options)

    return get


def _tell_consumed(recorder: Recorder, line: Line, started: float, found: Any) -> None:
    """Tell of records, one or by partition; of an answer without any, nothing."""
    groups = list(found.values()) if isinstance(found, dict) else [[found]]
    for records in filter(None, groups):
        first, last = records[0], records[-1]
        single = len(records) == 1
        place = f"{first.partition}@{first.offset}"
        recorder.add(
            SERVICE,
            f"consume {place}{'' if single else f' to {last.offset}'} of {first.topic}",
            line,
            started,
            parameters=record(first.value, first.key, first.headers) if single else None,
        )


def _of_producer(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    yield module.KafkaProducer, "send", _send


def _of_consumer(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    yield module.KafkaConsumer, "poll", _poll


def _of_async_producer(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    yield module.AIOKafkaProducer, "send", _send_async
    yield module.AIOKafkaProducer, "send_and_wait", _send_and_wait_async


def _of_async_consumer(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    yield module.AIOKafkaConsumer, "getone", _get_async
    yield module.AIOKafkaConsumer, "getmany", _get_async


HOOKS: Hooks = {
    "kafka.producer.kafka": _of_producer,
    "kafka.consumer.group": _of_consumer,
    "aiokafka.producer.producer": _of_async_producer,
    "aiokafka.consumer.consumer": _of_async_consumer,
}
