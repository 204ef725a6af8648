"""Tests that use a Redis of their own making."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import redis


@pytest.mark.parametrize("number", range(int(os.environ["BENCHMARK_TESTS"])))
def test_stock_is_kept(redis_client: redis.Redis, number: int) -> None:
    assert redis_client.get("stock") is None
    redis_client.set("stock", number)
    assert redis_client.get("stock") == str(number).encode()
