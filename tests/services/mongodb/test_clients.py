"""The clients that tests get, for asyncio too, and what becomes of those that are left open."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

INI = ("filterwarnings = error", "asyncio_default_fixture_loop_scope = function")


def test_clients_of_asyncio_need_not_be_closed(local: Project) -> None:
    """Whichever plugin runs the test, and whether the loop is closed by then: no warning."""
    pytest.importorskip("anyio")
    local.plugins = ("asyncio", "anyio")
    local.ini(*INI)
    local.write(
        test_it="""
            import asyncio
            import gc
            import pytest

            async def use(database):
                await database.users.insert_one({"_id": 1})
                async with database.client.start_session() as session:
                    assert await database.users.count_documents({}, session=session) == 1
                # Left open: it has more to give.
                cursor = database.users.find(batch_size=1)
                await database.users.insert_many([{} for _ in range(5)])
                assert (await cursor.next())["_id"] == 1

            @pytest.mark.asyncio
            async def test_asyncio(mongo_async_database):
                await use(mongo_async_database)

            @pytest.mark.anyio
            @pytest.mark.parametrize("anyio_backend", ["asyncio"])
            async def test_anyio(mongo_async_database, anyio_backend):
                await use(mongo_async_database)

            def test_a_loop_of_its_own(mongo_async_database):
                asyncio.run(use(mongo_async_database))

            @pytest.mark.asyncio
            async def test_closed_by_the_test(mongo_async_client):
                await use(mongo_async_client.get_default_database())
                await mongo_async_client.close()

            def test_unused(mongo_async_client, mongo_database):
                assert list(mongo_database.users.find()) == []

            def test_nothing_is_left():
                gc.collect()
        """
    )
    local.run("-W", "error").assert_outcomes(passed=6)


def test_other_databases_go_where_nobody_else_uses_the_server(local: Project) -> None:
    """Those that a test makes; what fixtures of a wider scope have made stays."""
    local.write(
        test_it="""
            import pymongo
            import pytest

            @pytest.fixture(scope="session", autouse=True)
            def made(mongo_url):
                with pymongo.MongoClient(mongo_url) as client:
                    client.archive.users.insert_one({})

            def names(client):
                found = client.list_database_names()
                return {each for each in found if not each.startswith("berth_")}

            @pytest.mark.parametrize("number", range(2))
            def test_it(mongo_client, number):
                assert names(mongo_client) - {"admin"} == {"archive"}
                mongo_client.reports.users.insert_one({})
        """
    )
    local.run().assert_outcomes(passed=2)
