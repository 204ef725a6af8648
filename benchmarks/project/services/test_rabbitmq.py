"""Tests of a RabbitMQ on which a session fixture has declared queues: one for ten records."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pika
import pytest

if TYPE_CHECKING:
    from pika.adapters.blocking_connection import BlockingChannel

TESTS = range(int(os.environ["BENCHMARK_TESTS"]))


@pytest.fixture(scope="session", autouse=True)
def _queues(rabbitmq_url: str) -> None:
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        channel = connection.channel()
        for number in range(int(os.environ["BENCHMARK_RECORDS"]) // 10):
            channel.queue_declare(f"queue.{number}", durable=True)


@pytest.mark.parametrize("number", TESTS)
def test_untouched(rabbitmq_channel: BlockingChannel, number: int) -> None:
    assert rabbitmq_channel.queue_declare("queue.0", passive=True)


@pytest.mark.parametrize("number", TESTS)
def test_small(rabbitmq_channel: BlockingChannel, number: int) -> None:
    rabbitmq_channel.basic_publish("", "queue.0", b"published")
