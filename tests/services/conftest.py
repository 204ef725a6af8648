"""What tests of services share."""

from __future__ import annotations

from typing import Any

import pytest

import fork_server
from conftest import plugins_off
from pytest_berth.testing import ServiceConformance

# Redis, S3, MongoDB and the services of any image show it in each run.
OF_THE_CORE = {
    test.__name__
    for test in (
        ServiceConformance.test_a_late_test_is_isolated_also_where_it_is_the_first,
        ServiceConformance.test_what_a_session_fixture_wrote_is_gone_at_the_end,
        ServiceConformance.test_a_test_may_have_its_own_server,
        ServiceConformance.test_the_application_is_told_the_address,
        ServiceConformance.test_a_source_that_cannot_serve_is_told,
        ServiceConformance.test_slips_are_told_before_the_first_test,
    )
}
SLOW = {"kafka", "mysql", "opensearch", "rabbitmq", "wiremock"}
# Their own tests, here and in tests/contracts, go further than the suite for any service.
HAVE_THEIR_OWN = {"kafka", "postgres"}
NEVERTHELESS = {
    ServiceConformance.test_no_test_sees_what_another_one_wrote.__name__,
    ServiceConformance.test_a_server_given_by_url_keeps_what_others_have_there.__name__,
}
# What is imported ahead cannot be missing.
NOT_FORKED = {ServiceConformance.test_a_missing_package_is_told.__name__}


def pytest_itemcollected(item: Any) -> None:
    """Leave to the night what other tests of the conformance suite show.

    That is what a container repeats, where a local process shows it of a service; what is the
    core's for each service, where servers take seconds to start; and most of it for services that
    have tests of their own for it.
    """
    if not _is_conformance(item):
        return
    source = item.callspec.params.get("each_source") if hasattr(item, "callspec") else None
    name, test = item.cls.service.name, item.originalname
    repeats = source == "container" and "local" in item.cls.sources
    has_its_own = name in HAVE_THEIR_OWN and test not in NEVERTHELESS
    if repeats or has_its_own or (name in SLOW and test in OF_THE_CORE):
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
