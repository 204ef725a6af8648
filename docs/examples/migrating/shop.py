import os

import psycopg


def connect():
    return psycopg.connect(os.environ["DATABASE_URL"])


def place_order(item):
    with connect() as connection:
        row = connection.execute("INSERT INTO orders (item) VALUES (%s) RETURNING id", [item])
        return row.fetchone()[0]


def ordered_items():
    with connect() as connection:
        return [item for (item,) in connection.execute("SELECT item FROM orders ORDER BY id")]
