"""Elasticsearch and OpenSearch pass the conformance suite, on a stand-in of OpenSearch's jars."""

from __future__ import annotations

import pytest

from images_here import has_image
from pytest_berth.services.elasticsearch.service import ELASTICSEARCH
from pytest_berth.services.opensearch.service import OPENSEARCH
from pytest_berth.testing import ServiceConformance

# A node starts within seconds, not within milliseconds.
pytestmark = pytest.mark.slow


class TestOpenSearch(ServiceConformance):
    """By opensearch-py."""

    service = OPENSEARCH
    sources = ("container", "local") if has_image("opensearchproject/opensearch:3") else ("local",)
    write = "opensearch_client.index(index=opensearch_prefix + 'it', id='1', body={'a': 1})"
    read = "opensearch_client.exists(index=opensearch_prefix + 'it', id='1')"
    wide_write = (
        "__import__('opensearchpy').OpenSearch(opensearch_url)"
        ".index(index=opensearch_prefix + 'it', id='1', body={'a': 1})"
    )
    restores = True


@pytest.mark.nightly
class TestElasticsearch(ServiceConformance):
    """By the official client, which the stand-in tells that it is one of Elasticsearch's."""

    service = ELASTICSEARCH
    sources = ("local",)
    write = (
        "elasticsearch_client.index(index=elasticsearch_prefix + 'it', id='1', document={'a': 1})"
    )
    read = "elasticsearch_client.exists(index=elasticsearch_prefix + 'it', id='1')"
    wide_write = (
        "__import__('elasticsearch').Elasticsearch(elasticsearch_url)"
        ".index(index=elasticsearch_prefix + 'it', id='1', document={'a': 1})"
    )
    restores = True
