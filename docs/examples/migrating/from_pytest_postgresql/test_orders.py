import pytest


@pytest.mark.parametrize("item", ["tea", "coffee"])
def test_an_order_is_stored(postgresql, item):
    with postgresql.cursor() as cursor:
        cursor.execute("INSERT INTO orders (item) VALUES (%s)", [item])
        postgresql.commit()
        cursor.execute("SELECT id, item FROM orders")
        assert cursor.fetchall() == [(1, item)]
