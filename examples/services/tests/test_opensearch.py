"""A catalogue in OpenSearch: products are found after a refresh, by what they are called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opensearchpy import OpenSearch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MAPPINGS = {"properties": {"name": {"type": "text"}, "price": {"type": "float"}}}


class Catalogue:
    """The application: it keeps products in an index, and searches them."""

    def __init__(self, client: OpenSearch, index: str) -> None:
        self.client, self.index = client, index

    def create(self) -> None:
        """Make the index, as a deployment does."""
        self.client.indices.create(index=self.index, body={"mappings": MAPPINGS})

    def put(self, sku: str, name: str, price: float) -> None:
        """Add or change a product."""
        self.client.index(index=self.index, id=sku, body={"name": name, "price": price})

    def find(self, words: str) -> list[str]:
        """Return the numbers of the products that have one of the words, the best first."""
        query: dict[str, Any] = {"query": {"match": {"name": words}}}
        found = self.client.search(index=self.index, body=query)
        return [hit["_id"] for hit in found["hits"]["hits"]]


@pytest.fixture(scope="session")
def catalogue(opensearch_url: str, opensearch_prefix: str) -> Iterator[Catalogue]:
    """The catalogue with a teapot in it: each test finds it so."""
    client = OpenSearch(opensearch_url)
    made = Catalogue(client, f"{opensearch_prefix}products")
    made.create()
    made.put("T-1", "Teapot, blue", 19.9)
    yield made
    client.close()


def test_a_product_is_found_after_a_refresh(
    catalogue: Catalogue, opensearch_refresh: Callable[..., None]
) -> None:
    """Without it never, and not just sometimes: nothing is refreshed by itself."""
    catalogue.put("C-1", "Cup, blue", 4.5)
    assert catalogue.find("cup") == []
    opensearch_refresh()
    assert catalogue.find("cup") == ["C-1"]
    assert sorted(catalogue.find("blue")) == ["C-1", "T-1"]


def test_a_product_is_changed_and_deleted(
    catalogue: Catalogue, opensearch_refresh: Callable[..., None]
) -> None:
    """The seeded one, too: it is put back afterwards."""
    catalogue.put("T-1", "Kettle", 29.9)
    opensearch_refresh()
    assert catalogue.find("teapot") == []
    assert catalogue.find("kettle") == ["T-1"]
    catalogue.client.delete(index=catalogue.index, id="T-1")
    opensearch_refresh()
    assert catalogue.find("kettle") == []


def test_nothing_is_left_of_the_other_tests(catalogue: Catalogue) -> None:
    """Whichever order they run in."""
    assert catalogue.find("teapot") == ["T-1"]
    assert catalogue.find("cup kettle") == []
