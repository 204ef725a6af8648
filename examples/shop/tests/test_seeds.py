from decimal import Decimal

import pytest
from sqlalchemy.orm import Session

from shop.repository import ShopRepository
from tests.factories import CustomerFactory, ProductFactory

with_catalogue = pytest.mark.berth_pg(seed=["tests/data/catalogue.sql"])


@with_catalogue
def test_the_catalogue_is_listed_by_name(repository):
    names = [product.name for product in repository.list_products()]

    assert names == ["Kettle", "Tea; 100 bags", "Teapot"]


@with_catalogue
def test_seeded_products_can_be_ordered(repository, pg_session):
    customer = CustomerFactory()
    pg_session.add(customer)
    pg_session.flush()
    kettle, tea, _ = repository.list_products()

    order = repository.place_order(customer.id, {kettle.id: 1, tea.id: 10})

    assert order.total == Decimal("86.80")


@pytest.mark.berth_pg(isolation="truncation", seed=["tests/data/catalogue.sql"])
def test_seeds_are_committed_where_commits_are_real(pg_engine):
    with Session(pg_engine) as one, Session(pg_engine) as other:
        assert ShopRepository(one).list_products()
        assert ShopRepository(other).list_products()


def test_other_tests_have_no_catalogue(repository):
    assert repository.list_products() == []


def test_a_factory_makes_as_many_rows_as_a_test_needs(repository, pg_session):
    pg_session.add_all(ProductFactory.build_batch(50))
    pg_session.flush()

    assert len(repository.list_products()) == 50
