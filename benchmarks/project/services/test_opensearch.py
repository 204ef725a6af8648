"""Tests of an OpenSearch that holds what a session fixture has written."""

from __future__ import annotations

import os

import pytest
from opensearchpy import OpenSearch, helpers

TESTS = range(int(os.environ["BENCHMARK_TESTS"]))


@pytest.fixture(scope="session", autouse=True)
def _records(opensearch_url: str) -> None:
    records = range(int(os.environ["BENCHMARK_RECORDS"]))
    client = OpenSearch(opensearch_url)
    client.indices.create(
        index="records", body={"mappings": {"properties": {"n": {"type": "long"}}}}
    )
    helpers.bulk(client, ({"_index": "records", "_id": str(n), "n": n} for n in records))
    client.close()


@pytest.mark.parametrize("number", TESTS)
def test_untouched(opensearch_client: OpenSearch, number: int) -> None:
    assert opensearch_client.exists(index="records", id="0")


@pytest.mark.parametrize("number", TESTS)
def test_small(opensearch_client: OpenSearch, number: int) -> None:
    opensearch_client.index(index="records", id="0", body={"n": -1})
