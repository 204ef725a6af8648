"""What tests of services share."""

from __future__ import annotations

from typing import Any

import pytest

import fork_server
from conftest import plugins_off
from pytest_berth.testing import ServiceConformance

# Postgres, Redis, S3, MongoDB and the services of any image show it in each run.
OF_THE_CORE = {
    ServiceConformance.test_a_late_test_is_isolated_also_where_it_is_the_first.__name__,
    ServiceConformance.test_the_application_is_told_the_address.__name__,
}
SLOW = {"kafka", "mysql", "opensearch", "rabbitmq", "wiremock"}
# What is imported ahead cannot be missing.
NOT_FORKED = {ServiceConformance.test_a_missing_package_is_told.__name__}


def pytest_itemcollected(item: Any) -> None:
    """Leave to the night what other tests of the conformance suite show.

    That is what a container repeats, where a local process shows it of a service; and what is the
    core's for each service, where servers take seconds to start.
    """
    if not _is_conformance(item):
        return
    source = item.callspec.params.get("each_source") if hasattr(item, "callspec") else None
    repeats = source == "container" and "local" in item.cls.sources
    if repeats or (item.cls.service.name in SLOW and item.originalname in OF_THE_CORE):
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


def _is_conformance(test: Any) -> bool:
    """Tell whether an item, or a request of its, is of the conformance suite."""
    return test.cls is not None and issubclass(test.cls, ServiceConformance)
