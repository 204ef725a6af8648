"""Tests that publish an event and read it back."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pytest_berth import KafkaProbe


@pytest.mark.parametrize("number", range(int(os.environ["BENCHMARK_TESTS"])))
def test_event_is_published(kafka_probe: KafkaProbe, kafka_topic: str, number: int) -> None:
    kafka_probe.publish(kafka_topic, {"order": number})
    assert kafka_probe.expect_one(kafka_topic).json() == {"order": number}
