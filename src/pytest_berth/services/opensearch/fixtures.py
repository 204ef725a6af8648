"""The fixtures of OpenSearch, besides those that every service has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opensearchpy import AsyncOpenSearch, OpenSearch

    from pytest_berth.services.elasticsearch.namespace import SearchNamespace


@pytest.fixture(scope="session")
def opensearch_prefix(pytestconfig: pytest.Config) -> str:
    """What the names of this worker's indices begin with, where workers share a server.

    Scope: session.
    """
    from pytest_berth.services.elasticsearch import names

    return names.of_config(pytestconfig)


@pytest.fixture
def opensearch_refresh(
    _opensearch_isolation: None, _opensearch_namespace: SearchNamespace
) -> Callable[..., None]:
    """A function that lets searches find all that was written so far.

    Given names of indices, it refreshes these; without any, all of the worker's. Scope: function.
    """
    return _opensearch_namespace.refresh


@pytest.fixture
def opensearch_client(_opensearch_isolation: None, opensearch_url: str) -> Iterator[OpenSearch]:
    """opensearch-py's client, connected to the server.

    Scope: function.
    """
    from opensearchpy import OpenSearch

    client = OpenSearch(opensearch_url)
    try:
        yield client
    finally:
        client.close()


@pytest.fixture
def opensearch_async_client(
    _opensearch_isolation: None, opensearch_url: str
) -> Iterator[AsyncOpenSearch]:
    """opensearch-py's client for asyncio, connected to the server.

    Scope: function. It connects at its first request, in whichever event loop that runs, and need
    not be closed.
    """
    from pytest_berth.errors import require_package

    require_package("aiohttp", "opensearch", needed_by="opensearch_async_client")
    from opensearchpy import AsyncOpenSearch

    from pytest_berth.compat import aiohttp_private

    client = AsyncOpenSearch(opensearch_url)
    try:
        yield client
    finally:
        for connection in client.transport.connection_pool.connections:
            aiohttp_private.abort(getattr(connection, "session", None))
