"""On a server given by URL, nothing but databases of the run, and of dead ones, is dropped."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pymongo
import pytest

from pytest_berth.run.process_identity import this_process
from pytest_berth.services.mongodb import ownership, urls

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Project
    from pytest_berth.api import Server


@pytest.fixture
def outside(server: Server) -> Iterator[pymongo.MongoClient[dict[str, Any]]]:
    """A client of somebody else's on the server."""
    with pymongo.MongoClient[dict[str, Any]](urls.url(server, "admin")) as client:
        client.shop.users.insert_one({"name": "mine"})
        yield client


def test_a_run_leaves_what_it_has_found(
    server: Server, outside: pymongo.MongoClient[dict[str, Any]], project: Project
) -> None:
    """Also what a session fixture wrote is gone, in all workers."""
    before = outside.list_database_names()
    project.plugins = ("xdist", "xdist.looponfail")
    project.ini(f"berth_mongo_url = {urls.url(server, 'shop')}", "berth_mongo_source = external")
    project.write(
        test_it="""
            import pymongo
            import pytest

            @pytest.fixture(scope="session")
            def seeded(mongo_url):
                with pymongo.MongoClient(mongo_url) as client:
                    client.get_default_database().users.insert_one({})

            @pytest.mark.parametrize("number", range(4))
            def test_it(seeded, mongo_database, number):
                assert mongo_database.name.startswith("berth_")
                assert mongo_database.users.count_documents({}) == 1
                mongo_database.users.insert_one({})
        """
    )
    project.run("-n2").assert_outcomes(passed=4)
    assert outside.list_database_names() == before
    assert outside.shop.users.count_documents({}) == 1


def test_what_a_dead_run_has_left_is_dropped_by_a_later_one(
    server: Server, outside: pymongo.MongoClient[dict[str, Any]]
) -> None:
    """Only where each of its processes has provably ended."""
    alive = this_process()
    dead = alive._replace(started="0")
    runs = {
        "dead": [dead],
        "alive": [dead, alive],
        "elsewhere": [dead._replace(machine="another")],
        "unknown": [],
    }
    for run, processes in runs.items():
        outside[f"berth_{run}_gw0"].users.insert_one({})
        outside[f"berth_{run}_owner"].create_collection("processes")
        for process in processes:
            outside[f"berth_{run}_owner"].processes.insert_one(process._asdict())
    outside["berth_deadline"].users.insert_one({})
    ownership.note(outside, "ours")
    outside["berth_ours_main"].users.insert_one({})

    ownership.release(
        replace(server, source="external", parameters={"authSource": "admin"}), "ours"
    )

    names = {name for name in outside.list_database_names() if name.startswith("berth_")}
    expected = {f"berth_{run}_{part}" for run in runs if run != "dead" for part in ("gw0", "owner")}
    assert names == {*expected, "berth_deadline"}
    assert outside.shop.users.count_documents({}) == 1
