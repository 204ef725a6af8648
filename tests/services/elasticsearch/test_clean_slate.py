"""What tests leave behind, and what the next one finds: on one server, in one project each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_berth.services.elasticsearch import launch
from pytest_berth.services.elasticsearch.service import ELASTICSEARCH
from pytest_berth.services.opensearch.service import OPENSEARCH

if TYPE_CHECKING:
    from pathlib import Path

    from conftest import Project
    from pytest_berth.api import Service

# Both clients have the same names for nearly all of it.
SEEDED = """
    import pytest
    from pytest_berth.services.elasticsearch.rest import connected

    @pytest.fixture(scope="session")
    def rest(SERVICE_server):
        with connected(SERVICE_server.server) as opened:
            yield opened

    @pytest.fixture(scope="module")
    def shop(rest):
        mappings = {"properties": {"name": {"type": "keyword"}}}
        settings = {"number_of_shards": 1}
        aliases = {"goods": {}}
        body = {"mappings": mappings, "settings": settings, "aliases": aliases}
        rest.put("/products", body)
        rest.put("/products/_doc/1", {"name": "tea", "stock": 1.0})
        rest.put("/products/_doc/2?routing=a", {"name": "cup", "stock": 0.1})
        rest.put("/sharded", {"settings": {"number_of_shards": 3}})
        lines = [f'{{"index": {{"_id": "{id_}"}}}}\\n{{"id": {id_}}}' for id_ in range(400)]
        rest.post_lines("/sharded/_bulk", lines)
        rest.put("/_ingest/pipeline/upper", {"processors": []})
        rest.put("/_component_template/part", {"template": {"settings": {}}})
        body = {"index_patterns": ["log-*"], "composed_of": ["part"]}
        rest.put("/_index_template/logs", body)
        rest.put("/_template/old", {"index_patterns": ["old-*"]})
"""
TESTS = """
    import pytest

    def found(rest, index):
        return rest.get(f"/{index}/_count")["count"]

    def look(rest):
        assert found(rest, "products") == 2
        assert found(rest, "sharded") == 400
        assert rest.get("/products/_doc/1")["_source"] == {"name": "tea", "stock": 1.0}
        assert rest.get("/products/_doc/2?routing=a")["_source"] == {"name": "cup", "stock": 0.1}
        told = rest.get("/products")["products"]
        assert set(told["aliases"]) == {"goods"}
        assert set(told["mappings"]["properties"]) == {"name", "stock"}
        assert "read_only" not in str(told["settings"])
        assert set(rest.get("/_ingest/pipeline")) == {"upper"}
        assert rest.get("/_ingest/pipeline/upper")["upper"] == {"processors": []}
        names = [each["name"] for each in rest.get("/_index_template")["index_templates"]]
        assert names == ["logs"]
        assert set(rest.get("/_template")) == {"berth-defaults", "old"}
        told = rest.get("/_cat/indices?format=json&h=index,health&expand_wildcards=all")
        assert sorted((each["index"], each["health"]) for each in told) == [
            ("products", "green"), ("sharded", "green")
        ]

    def adds(rest):
        rest.post("/products/_doc", {"name": "new"})
        rest.post("/products/_refresh")
        rest.post("/products/_doc", {"name": "not to be found yet"})

    def changes(rest):
        rest.post("/products/_update/1", {"doc": {"stock": 2}})
        for id_ in range(0, 400, 50):
            rest.put(f"/sharded/_doc/{id_}", {"id": -1})

    def deletes(rest):
        rest.delete("/products/_doc/2?routing=a")
        for id_ in (7, 8, 399):
            rest.delete(f"/sharded/_doc/{id_}")

    def deletes_and_writes_anew(rest):
        rest.delete("/products/_doc/1")
        rest.put("/products/_doc/1", {"name": "other"})
        rest.put("/products/_doc/1?routing=b", {"name": "in the same shard"})

    def deletes_an_index(rest):
        rest.delete("/products,sharded")

    def makes_an_index_anew(rest):
        rest.delete("/products")
        rest.put("/products", {})
        rest.put("/products/_doc/5", {"a": 1})

    def swaps_by_an_alias(rest):
        rest.put("/products-2", {})
        actions = [{"remove_index": {"index": "products"}}]
        actions.append({"add": {"index": "products-2", "alias": "products"}})
        rest.post("/_aliases", {"actions": actions})

    def adds_a_field(rest):
        rest.put("/products/_mapping", {"properties": {"more": {"type": "date"}}})

    def changes_aliases(rest):
        actions = [{"remove": {"index": "products", "alias": "goods"}}]
        actions.append({"add": {"index": "products", "alias": "wares"}})
        rest.post("/_aliases", {"actions": actions})

    def blocks(rest):
        rest.put("/products/_settings", {"index.blocks.read_only": True})

    def closes(rest):
        rest.post("/products/_close")

    def makes_what_is_beside_indices(rest):
        rest.put("/_ingest/pipeline/mine", {"processors": []})
        rest.put("/_component_template/mine", {"template": {}})
        rest.put("/_index_template/mine", {"index_patterns": ["m-*"], "composed_of": ["mine"]})
        rest.put("/_template/mine", {"index_patterns": ["n-*"]})
        rest.put("/m-1/_doc/1", {"a": 1})

    def changes_what_is_beside_indices(rest):
        rest.put("/_ingest/pipeline/upper", {"processors": [], "description": "changed"})
        rest.delete("/_index_template/logs")
        rest.delete("/_component_template/part")
        rest.delete("/_template/old")

    def does_nothing(rest):
        pass

    ALL = [adds, changes, deletes, deletes_and_writes_anew, deletes_an_index, makes_an_index_anew,
           swaps_by_an_alias, adds_a_field, changes_aliases, blocks, closes,
           makes_what_is_beside_indices, changes_what_is_beside_indices, does_nothing]

    @pytest.mark.parametrize("leave", ALL, ids=lambda each: each.__name__)
    def test_it(leave, shop, rest, SERVICE_url):
        look(rest)
        leave(rest)

    def test_last(shop, rest, SERVICE_url):
        look(rest)
"""
AFTERWARDS = """
    def test_what_the_module_made_is_gone(rest, SERVICE_url, SERVICE_refresh):
        assert rest.get("/_cat/indices?format=json") == []
        assert not rest.get("/_ingest/pipeline", or_none=True)

    def test_a_document_of_a_used_id_is_new(rest, SERVICE_url):
        assert rest.put("/it/_doc/1", {})["_version"] == 1

    def test_so_it_is_again(rest, SERVICE_url):
        assert rest.put("/it/_doc/1", {})["_version"] == 1

    def test_searches_find_what_was_refreshed(rest, SERVICE_url, SERVICE_refresh):
        rest.put("/it/_doc/1", {})
        rest.put("/that/_doc/1", {})
        rest.put("/that/_doc/2?refresh=wait_for", {})
        count = lambda name: rest.get(f"/{name}/_count")["count"]
        assert (count("it"), count("that")) == (0, 2)
        SERVICE_refresh("that")
        assert count("it") == 0
        SERVICE_refresh()
        assert count("it") == 1
"""


CLIENTS = {
    "opensearch": """
        import asyncio

        async def write(client):
            await client.index(index="notes", id="1", body={"a": 1}, params={"refresh": "true"})
            return await client.count(index="notes")

        def test_one_loop(opensearch_async_client):
            assert asyncio.run(write(opensearch_async_client))["count"] == 1

        def test_another_loop(opensearch_async_client, opensearch_client):
            assert not opensearch_client.indices.exists(index="notes")
            assert asyncio.run(write(opensearch_async_client))["count"] == 1

        def test_fails(opensearch_client):
            opensearch_client.index(index="notes", id="7", body={"a": 1})
            assert False
    """,
    "elasticsearch": """
        import asyncio

        async def write(client):
            await client.index(index="notes", id="1", document={"a": 1}, refresh=True)
            return await client.count(index="notes")

        def test_one_loop(elasticsearch_async_client):
            assert asyncio.run(write(elasticsearch_async_client))["count"] == 1

        def test_another_loop(elasticsearch_async_client, elasticsearch_client):
            assert not elasticsearch_client.indices.exists(index="notes")
            assert asyncio.run(write(elasticsearch_async_client))["count"] == 1

        def test_fails(elasticsearch_client):
            elasticsearch_client.index(index="notes", id="7", document={"a": 1})
            assert False
    """,
}
SHARED = """
    import os

    def test_fixed_name(SERVICE_server, SERVICE_url):
        from pytest_berth.services.elasticsearch.rest import connected
        with connected(SERVICE_server.server) as rest:
            rest.put("/products", {})

    def test_with_the_prefix(SERVICE_server, SERVICE_url, SERVICE_prefix):
        assert os.environ["INDEX_PREFIX"] == SERVICE_prefix
        from pytest_berth.services.elasticsearch.rest import connected
        with connected(SERVICE_server.server) as rest:
            rest.put(f"/{SERVICE_prefix}it/_doc/1?refresh", {})
            assert rest.get("/products/_count")["count"] == 0
"""


def for_service(text: str, service: Service) -> str:
    """Return a text with a service's own names."""
    return text.replace("SERVICE", service.prefix)


@pytest.mark.parametrize(
    "service",
    [
        pytest.param(OPENSEARCH, id="opensearch"),
        pytest.param(ELASTICSEARCH, id="elasticsearch", marks=pytest.mark.nightly),
    ],
)
def test_each_test_finds_what_was_there_before(local: Project, service: Service) -> None:
    local.ini("filterwarnings = error", "berth_order = none")
    local.conftest(for_service(SEEDED, service))
    local.write(
        test_a_shop=for_service(TESTS, service),
        test_b_afterwards=for_service(AFTERWARDS, service),
        test_c_clients=CLIENTS[service.name],
    )
    result = local.run("-v", forked=False)
    result.assert_outcomes(passed=21, failed=1)
    result.stdout.fnmatch_lines(["+ index 'notes'", "+ document '7' in 'notes'"])


@pytest.mark.slow
def test_an_index_that_workers_share_is_told(local: Project) -> None:
    local.plugins = ("xdist",)
    local.ini("berth_export = INDEX_PREFIX = {opensearch_prefix}")
    local.write(test_it=for_service(SHARED, OPENSEARCH))

    result = local.run("-n2", "--dist=loadfile", forked=False)

    result.assert_outcomes(passed=2, errors=1)
    result.stdout.fnmatch_lines(["*tests of several workers share an index: 'products'.*"])


def test_where_a_distribution_was_looked_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ES_HOME", "/nowhere")
    monkeypatch.setenv("PATH", "")

    told = str(launch.local_obstacle(launch.ELASTICSEARCH, ""))

    assert told.startswith(
        "Elasticsearch is not installed.\n  why: no bin/elasticsearch in ES_HOME"
    )


def test_a_distribution_of_another_version_is_told(distribution: Path) -> None:
    told = str(launch.local_obstacle(launch.OPENSEARCH, "1"))

    assert "has version 2.19.6, and 1 is asked for" in told
    assert launch.local_obstacle(launch.OPENSEARCH, "2.19") is None
