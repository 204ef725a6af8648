"""What tests of services of any image share: a look whether there is an engine, and the image."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.services.declared import descriptor
from pytest_berth.services.generic import lines
from pytest_berth.sources.choose import Sources


@pytest.fixture(scope="session")
def _missing(pytestconfig: pytest.Config) -> str:
    """Why no container of the mail server can be had; asked before `pytester` hides the engine."""
    berth = pytestconfig.stash[PLUGIN_STATE]
    declared = lines.parse("mailpit = axllent/mailpit:v1.20 smtp:1025", Path(), "")
    source = Sources(berth.settings, berth.run.id)["container"]
    return str(source.obstacle(descriptor(declared), berth.progress) or "")


@pytest.fixture
def require_image(_missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip where no container can be had; fail where ``BERTH_TESTS_REQUIRE`` names them."""
    if _missing and "container" in os.environ.get("BERTH_TESTS_REQUIRE", "").split(","):
        pytest.fail(f"BERTH_TESTS_REQUIRE names containers, but: {_missing}", pytrace=False)
    if _missing:
        pytest.skip(_missing)
