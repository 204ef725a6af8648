"""How many queries the shop needs is part of its contract."""

import pytest

from tests.factories import CustomerFactory, ProductFactory


@pytest.fixture
def regular(repository, pg_session):
    """A customer with a dozen orders, none of which is loaded."""
    customer, product = CustomerFactory(), ProductFactory(stock=100)
    pg_session.add_all([customer, product])
    pg_session.flush()
    for _ in range(12):
        repository.place_order(customer.id, {product.id: 2})
    pg_session.expunge_all()
    return customer


def test_orders_come_with_their_items_by_two_queries_however_many_there_are(
    repository, regular, pg_queries
):
    with pg_queries(at_most=2):
        totals = [order.total for order in repository.list_orders(regular.id)]

    assert len(totals) == 12
