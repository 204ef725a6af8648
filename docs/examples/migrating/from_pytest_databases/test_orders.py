import pytest


@pytest.mark.parametrize("item", ["tea", "coffee"])
def test_an_order_is_stored(connection, item):
    connection.execute("INSERT INTO orders (item) VALUES (%s)", [item])
    connection.commit()
    assert connection.execute("SELECT id, item FROM orders").fetchall() == [(1, item)]
