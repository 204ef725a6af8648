"""The application commits through its own pool; one event loop serves it and all tests."""

import asyncio

import pytest
from httpx import ASGITransport, AsyncClient

from app import User, app

client = AsyncClient(transport=ASGITransport(app), base_url="http://app")


@pytest.mark.parametrize("run", ["first", "second"])
async def test_a_user_is_registered_under_the_first_number(run):
    assert (await client.post("/users/ada@example.com")).json() == 1


async def test_of_two_at_the_same_time_one_is_registered():
    responses = await asyncio.gather(*(client.post("/users/ada@example.com") for _ in "ab"))

    assert sorted(each.status_code for each in responses) == [201, 409]


async def test_what_a_test_has_committed_is_there_for_the_application(pg_session):
    pg_session.add(User(email="grace@example.com"))
    pg_session.commit()

    assert (await client.get("/users")).json() == ["grace@example.com"]
