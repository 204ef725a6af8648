"""What tests of services share."""

from __future__ import annotations

from typing import Any

import pytest

import fork_server
from conftest import plugins_off
from pytest_berth.testing import ServiceConformance

# What is imported ahead cannot be missing.
NOT_FORKED = {ServiceConformance.test_a_missing_package_is_told.__name__}


def pytest_itemcollected(item: Any) -> None:
    """Leave to the night what a container repeats, where a local process shows it of a service."""
    source = item.callspec.params.get("each_source") if hasattr(item, "callspec") else None
    is_conformance = source == "container" and issubclass(item.cls, ServiceConformance)
    if is_conformance and "local" in item.cls.sources:
        item.add_marker(pytest.mark.nightly)


@pytest.fixture
def pytester(
    request: pytest.FixtureRequest, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """The runs of the conformance suite are forks, too, as those of all other projects."""
    if _is_conformance(request) and request.function.__name__ not in NOT_FORKED:
        monkeypatch.setattr(pytester, "popen", fork_server.popen)
    return pytester


@pytest.fixture(autouse=True)
def _only_used_plugins(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run of the conformance suite has several processes, none of which loads the others."""
    if _is_conformance(request):
        request.getfixturevalue("conformance_project")  # It takes the suite's environment away.
        monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(plugins_off("xdist")))


def _is_conformance(request: pytest.FixtureRequest) -> bool:
    return request.cls is not None and issubclass(request.cls, ServiceConformance)
