"""Modules of the plugin are loaded as they were compiled, not anew in each process."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Project

# Marks the package in any kind of installation, as pytest does for one that is not editable.
EARLY = """
    import pytest

    pytest.register_assert_rewrite("pytest_berth")
"""
TEST = """
    import sys
    from importlib.machinery import SourceFileLoader

    from pytest_berth import wait_for

    def test_loaders():
        modules = {m: sys.modules[m] for m in list(sys.modules) if m.startswith("pytest_berth.")}
        loaders = {m: type(module.__loader__) for m, module in modules.items()}
        assert {"pytest_berth.plugin", "pytest_berth.waiting"} <= set(loaders)
        assert set(loaders.values()) == {SourceFileLoader}, loaders
"""


def test_pytest_does_not_compile_the_modules_of_the_plugin_anew(project: Project) -> None:
    project.write(early=EARLY, test_it=TEST)
    result = project.run("-p", "early", "-W", "error", forked=False)
    result.assert_outcomes(passed=1)
