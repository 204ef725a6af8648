"""Tests that need nothing, as many as the others."""

from __future__ import annotations

import os

import pytest


@pytest.mark.parametrize("number", range(int(os.environ["BENCHMARK_TESTS"])))
def test_number_is_counted(number: int) -> None:
    assert number < int(os.environ["BENCHMARK_TESTS"])
