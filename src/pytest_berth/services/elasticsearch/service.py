"""What Elasticsearch is to the plugin: its name, settings, fixtures and placeholders."""

from __future__ import annotations

from pytest_berth.config.descriptor import FromCompose, Service
from pytest_berth.services.elasticsearch import options as ini

ELASTICSEARCH = Service(
    "elasticsearch",
    "pytest_berth.services.elasticsearch.backend:Elasticsearch",
    version="9.2.0",
    image="docker.elastic.co/elasticsearch/elasticsearch:{version}",
    schemes=("http", "https"),
    settings=ini.server_settings("elasticsearch"),
    options=(ini.refresh_interval("elasticsearch"),),
    compose=FromCompose(
        images=("elasticsearch", "elasticsearch/elasticsearch"),
        without_effect=("discovery.type", "xpack.security.enabled", "ES_JAVA_OPTS"),
    ),
    extra="elasticsearch",
    packages=("elasticsearch",),
    fixtures=(
        "elasticsearch_async_client",
        "elasticsearch_client",
        "elasticsearch_prefix",
        "elasticsearch_refresh",
    ),
    fixture_module="pytest_berth.services.elasticsearch.fixtures",
    address_help="URL of the server: ``http://127.0.0.1:19200``.",
    placeholders=(
        "elasticsearch_host",
        "elasticsearch_port",
        "elasticsearch_prefix",
        "elasticsearch_url",
    ),
    usual_start=10.0,
)
