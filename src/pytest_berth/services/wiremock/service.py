"""What WireMock is to the plugin: its name, settings, fixtures and placeholders."""

from __future__ import annotations

from pytest_berth.config.descriptor import FromCompose, Service
from pytest_berth.services.wiremock import options as ini

WIREMOCK = Service(
    "wiremock",
    "pytest_berth.services.wiremock.backend:WireMockBackend",
    label="WireMock",
    version=ini.VERSION,
    image="wiremock/wiremock:{version}",
    schemes=("http", "https"),
    settings=ini.SETTINGS,
    scope="worker",  # a stub answers everybody's requests
    options=ini.OPTIONS,
    compose=FromCompose(images=("wiremock/wiremock",)),
    extra="wiremock",
    fixtures=("wiremock_client", "wiremock_config"),
    fixture_module="pytest_berth.services.wiremock.fixtures",
    address_help="What the application takes for the other service: ``http://127.0.0.1:15080``.",
    usual_start=1.0,
)
