import asyncio

import pytest
from asyncpg import CheckViolationError

from app import Accounts


@pytest.fixture
async def accounts(pool):
    accounts = Accounts(pool)
    await accounts.open("Ada", 10)
    await accounts.open("Grace", 0)
    return accounts


async def test_what_is_refused_is_rolled_back_as_a_whole(accounts):
    with pytest.raises(CheckViolationError):
        await accounts.transfer(11, "Ada", "Grace")

    assert await accounts.balances() == {"Ada": 10, "Grace": 0}


async def test_transfers_at_the_same_time_wait_for_each_other(accounts):
    await asyncio.gather(*(accounts.transfer(1, "Ada", "Grace") for _ in range(10)))

    assert await accounts.balances() == {"Ada": 0, "Grace": 10}


async def test_a_transfer_is_told_once_it_is_committed(accounts, pool):
    told = asyncio.Queue()

    def hear(connection, pid, channel, payload):
        told.put_nowait(payload)

    async with pool.acquire() as listener:
        await listener.add_listener("transfers", hear)
        await accounts.transfer(1, "Ada", "Grace")
        assert await asyncio.wait_for(told.get(), timeout=10) == "Grace"
        await listener.remove_listener("transfers", hear)


async def test_the_next_test_starts_clean(pool):
    assert await Accounts(pool).balances() == {}
