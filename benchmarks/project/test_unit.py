"""A test that needs nothing."""

from __future__ import annotations


def test_sum() -> None:
    assert 1 + 1 == 2
