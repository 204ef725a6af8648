"""What OpenSearch does otherwise than Elasticsearch: how it is launched."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.services.elasticsearch import launch
from pytest_berth.services.elasticsearch.backend import SearchBackend

if TYPE_CHECKING:
    from collections.abc import Mapping


class OpenSearch(SearchBackend):
    """The service ``opensearch``."""

    distribution = launch.OPENSEARCH

    def prompt(self, values: Mapping[str, str]) -> Mapping[str, object]:
        """Return opensearch-py's client."""
        from opensearchpy import OpenSearch as Client

        return {"client": Client(values["opensearch_url"])}
