"""Moves money, with psycopg alone and its pool."""

import os

from psycopg_pool import ConnectionPool

pool = ConnectionPool(os.environ["DATABASE_URL"], open=False)


def open_account(owner: str, balance: int) -> None:
    with pool.connection() as connection:
        connection.execute("INSERT INTO accounts VALUES (%s, %s)", [owner, balance])


def transfer(amount: int, giver: str, taker: str) -> None:
    change = "UPDATE accounts SET balance = balance + %s WHERE owner = %s"
    with pool.connection() as connection:
        connection.execute(change, [amount, taker])
        connection.execute(change, [-amount, giver])


def balances() -> dict[str, int]:
    with pool.connection() as connection:
        return dict(connection.execute("SELECT owner, balance FROM accounts").fetchall())
