"""What OpenSearch is to the plugin: its name, settings, fixtures and placeholders."""

from __future__ import annotations

from pytest_berth.config.descriptor import FromCompose, Service
from pytest_berth.services.elasticsearch import options as ini

OPENSEARCH = Service(
    "opensearch",
    "pytest_berth.services.opensearch.backend:OpenSearch",
    label="OpenSearch",
    version="3",
    image="opensearchproject/opensearch:{version}",
    schemes=("http", "https"),
    settings=ini.server_settings("opensearch"),
    options=(ini.refresh_interval("opensearch"),),
    compose=FromCompose(
        images=("opensearchproject/opensearch",),
        without_effect=("discovery.type", "DISABLE_SECURITY_PLUGIN", "OPENSEARCH_JAVA_OPTS"),
    ),
    extra="opensearch",
    packages=("opensearchpy",),
    fixtures=(
        "opensearch_async_client",
        "opensearch_client",
        "opensearch_prefix",
        "opensearch_refresh",
    ),
    fixture_module="pytest_berth.services.opensearch.fixtures",
    address_help="URL of the server: ``http://127.0.0.1:19200``.",
    placeholders=("opensearch_host", "opensearch_port", "opensearch_prefix", "opensearch_url"),
    usual_start=10.0,
)
