"""What OpenSearch does otherwise than Elasticsearch: how it is launched."""

from __future__ import annotations

from pytest_berth.services.elasticsearch import launch
from pytest_berth.services.elasticsearch.backend import SearchBackend


class OpenSearch(SearchBackend):
    """The service ``opensearch``."""

    distribution = launch.OPENSEARCH
