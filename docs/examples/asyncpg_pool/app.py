"""Moves money, with asyncpg alone and its pool, and tells of it."""

import asyncpg


def connect(dsn: str) -> asyncpg.Pool:
    return asyncpg.create_pool(dsn, min_size=1)


class Accounts:
    def __init__(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    async def open(self, owner: str, balance: int) -> None:
        await self.pool.execute("INSERT INTO accounts VALUES ($1, $2)", owner, balance)

    async def transfer(self, amount: int, giver: str, taker: str) -> None:
        change = "UPDATE accounts SET balance = balance + $1 WHERE owner = $2"
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(change, amount, taker)
            await connection.execute(change, -amount, giver)
            await connection.execute("SELECT pg_notify('transfers', $1)", taker)

    async def balances(self) -> dict[str, int]:
        return dict(await self.pool.fetch("SELECT owner, balance FROM accounts"))
