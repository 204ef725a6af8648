"""Django's private names."""

from __future__ import annotations

from typing import Any


def is_of_test_case(block: Any) -> bool:
    """Tell whether an atomic block is one that a TestCase has opened around its tests."""
    return bool(getattr(block, "_from_testcase", False))
