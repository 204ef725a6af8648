"""What ``pytest_berth`` offers to import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import pytest_berth


@pytest.mark.parametrize("name", pytest_berth.__all__)
def test_every_public_name_can_be_imported(name: str) -> None:
    assert getattr(pytest_berth, name).__module__.startswith("pytest_berth.")


def test_public_names_are_sorted() -> None:
    assert pytest_berth.__all__ == sorted(pytest_berth.__all__)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pytest_berth.nothing  # noqa: B018


def test_importing_the_package_imports_no_driver() -> None:
    drivers = {"psycopg", "redis", "kafka", "sqlalchemy", "docker", "testcontainers"}
    code = f"import sys, pytest_berth; sys.exit(bool({drivers} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
