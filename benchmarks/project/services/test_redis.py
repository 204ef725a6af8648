"""Tests of a Redis that holds what a session fixture has written."""

from __future__ import annotations

import os

import pytest
import redis

TESTS = range(int(os.environ["BENCHMARK_TESTS"]))


@pytest.fixture(scope="session", autouse=True)
def _records(redis_url: str) -> None:
    records = range(int(os.environ["BENCHMARK_RECORDS"]))
    with redis.Redis.from_url(redis_url) as client:
        client.mset({f"record:{number}": number for number in records})


@pytest.mark.parametrize("number", TESTS)
def test_untouched(redis_client: redis.Redis, number: int) -> None:
    assert redis_client.exists("record:0")


@pytest.mark.parametrize("number", TESTS)
def test_small(redis_client: redis.Redis, number: int) -> None:
    redis_client.set("record:0", "changed")
