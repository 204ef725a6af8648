"""Tests of other styles have a clean slate, too: the documentation's example of them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

EXAMPLE = Path(__file__).parents[2] / "docs/examples/test_styles"


@pytest.fixture
def styles(served: Project) -> Project:
    """The example, as a project of a user."""
    shutil.copytree(EXAMPLE, served.root, dirs_exist_ok=True)
    return served


def test_unittest_bdd_hypothesis_and_doctest_in_random_order(styles: Project) -> None:
    styles.plugins = ("pytest-bdd", "hypothesispytest", "randomly")
    styles.run("-v").assert_outcomes(passed=12)


def test_each_scenario_of_behave_has_a_clean_slate(styles: Project) -> None:
    command = [sys.executable, "-m", "behave", "--no-capture"]
    done = subprocess.run(
        command, cwd=styles.root, capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 scenarios passed, 0 failed" in done.stdout
