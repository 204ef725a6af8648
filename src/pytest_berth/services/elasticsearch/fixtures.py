"""The fixtures of Elasticsearch, besides those that every service has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from elasticsearch import AsyncElasticsearch, Elasticsearch

    from pytest_berth.services.elasticsearch.namespace import SearchNamespace


@pytest.fixture(scope="session")
def elasticsearch_prefix(pytestconfig: pytest.Config) -> str:
    """What the names of this worker's indices begin with, where workers share a server.

    Scope: session.
    """
    from pytest_berth.services.elasticsearch import names

    return names.of_config(pytestconfig)


@pytest.fixture
def elasticsearch_refresh(
    _elasticsearch_isolation: None, _elasticsearch_namespace: SearchNamespace
) -> Callable[..., None]:
    """A function that lets searches find all that was written so far.

    Given names of indices, it refreshes these; without any, all of the worker's. Scope: function.
    """
    return _elasticsearch_namespace.refresh


@pytest.fixture
def elasticsearch_client(
    _elasticsearch_isolation: None, elasticsearch_url: str
) -> Iterator[Elasticsearch]:
    """The official client, connected to the server.

    Scope: function.
    """
    from elasticsearch import Elasticsearch

    with Elasticsearch(elasticsearch_url) as client:
        yield client


@pytest.fixture
def elasticsearch_async_client(
    _elasticsearch_isolation: None, elasticsearch_url: str
) -> Iterator[AsyncElasticsearch]:
    """The official client for asyncio, connected to the server.

    Scope: function. It connects at its first request, in whichever event loop that runs, and need
    not be closed.
    """
    from pytest_berth.errors import require_package

    require_package("aiohttp", "elasticsearch", needed_by="elasticsearch_async_client")
    from elasticsearch import AsyncElasticsearch

    from pytest_berth.compat import aiohttp_private

    client = AsyncElasticsearch(elasticsearch_url)
    try:
        yield client
    finally:
        for node in client.transport.node_pool.all():
            aiohttp_private.abort(getattr(node, "session", None))
