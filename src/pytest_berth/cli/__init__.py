"""The command `pytest-berth`."""

from __future__ import annotations

from pytest_berth.cli.commands import main

__all__ = ["main"]
