"""The fixtures of WireMock, besides those that every service has."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.services.wiremock.client import WireMock
    from pytest_berth.services.wiremock.namespace import WireMockNamespace


@pytest.fixture
def wiremock_client(
    _wiremock_isolation: None, _wiremock_namespace: WireMockNamespace
) -> Iterator[WireMock]:
    """Stubs this worker's WireMock, and tells which requests it has received.

    Scope: function. For fixtures of a wider scope, there is ``WireMock(wiremock_url)``.
    """
    with closing(_wiremock_namespace.client()) as client:
        yield client


@pytest.fixture
def wiremock_config(
    _wiremock_isolation: None, _wiremock_namespace: WireMockNamespace
) -> Iterator[Any]:
    """The ``Config`` of the package ``wiremock``, set to this worker's server for the test.

    Scope: function. ``Mappings.create_mapping(...)`` and its kin work from then on.

    Raises:
        MissingExtraError: The package is not installed.
        IsolationError: Others use the server as well, and would get the test's stubs.
    """
    with _wiremock_namespace.configured() as config:
        yield config
