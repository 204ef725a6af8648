"""What tests of services share."""

from __future__ import annotations

import pytest

import fork_server
from pytest_berth.testing import ServiceConformance

# What is imported ahead cannot be missing.
NOT_FORKED = {ServiceConformance.test_a_missing_package_is_told.__name__}


@pytest.fixture
def pytester(
    request: pytest.FixtureRequest, pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> pytest.Pytester:
    """The runs of the conformance suite are forks, too, as those of all other projects."""
    is_conformance = request.cls is not None and issubclass(request.cls, ServiceConformance)
    if is_conformance and request.function.__name__ not in NOT_FORKED:
        monkeypatch.setattr(pytester, "popen", fork_server.popen)
    return pytester
