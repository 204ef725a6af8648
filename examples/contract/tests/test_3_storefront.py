"""The consumer's integration test: a stub that is made of the pact stands in for the provider."""

import os

import pytest
from contract import interactions
from pytest_berth import WireMock
from storefront.client import spent


@pytest.fixture
def provider(wiremock_client: WireMock) -> WireMock:
    """Let WireMock answer as the provider has agreed."""
    for each in interactions():
        request, response = each["request"], each["response"]
        body = response.get("body", {}).get("content")
        wiremock_client.stub_for(
            request["method"], request["path"], status=response["status"], json=body
        )
    return wiremock_client


def test_what_a_user_has_spent(provider: WireMock) -> None:
    assert spent(os.environ["ORDERS_URL"], 123) == 25
    assert spent(os.environ["ORDERS_URL"], 404) is None
    provider.verify("GET", "/users/123/orders", count=1)
