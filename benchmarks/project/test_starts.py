"""Tests that take a while and need no server, and one test for each service that is asked for."""

from __future__ import annotations

import os
import threading

import pytest

SERVICES = os.environ["BENCHMARK_SERVICES"].split()


def test_takes_a_while() -> None:
    threading.Event().wait(float(os.environ["BENCHMARK_BUSY"]))


@pytest.mark.skipif("kafka" not in SERVICES, reason="not asked for")
def test_kafka(kafka_bootstrap: str) -> None:
    assert kafka_bootstrap


@pytest.mark.skipif("postgres" not in SERVICES, reason="not asked for")
def test_postgres(pg_url: str) -> None:
    assert pg_url


@pytest.mark.skipif("redis" not in SERVICES, reason="not asked for")
def test_redis(redis_url: str) -> None:
    assert redis_url
