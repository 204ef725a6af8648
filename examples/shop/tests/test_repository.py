"""Each test is one transaction that is rolled back; commits inside of it are savepoints."""

from decimal import Decimal

import pytest
from sqlalchemy.exc import IntegrityError, NoResultFound

from shop.models import Product
from tests.factories import CustomerFactory, ProductFactory


def test_a_new_customer_is_found_by_email(repository):
    ada = repository.add_customer("ada@example.com", "Ada")

    assert repository.find_customer("ada@example.com") is ada


def test_an_unknown_email_finds_nobody(repository):
    assert repository.find_customer("nobody@example.com") is None


def test_an_email_address_is_registered_once(repository, pg_session):
    repository.add_customer("ada@example.com", "Ada")
    pg_session.commit()

    with pytest.raises(IntegrityError, match="uq_customers_email"):
        repository.add_customer("ada@example.com", "Another Ada")
    pg_session.rollback()  # To the commit above: the session can be used again.

    assert repository.find_customer("ada@example.com").name == "Ada"
    assert repository.add_customer("grace@example.com", "Grace").id


def test_a_product_is_read_back_as_it_was_written(repository, pg_session):
    product = repository.add_product("Teapot", Decimal("24.00"), stock=3)
    pg_session.expire_all()

    assert (product.name, product.price, product.stock) == ("Teapot", Decimal("24.00"), 3)


def test_a_product_can_be_changed(repository, pg_session):
    product = repository.add_product("Teapot", Decimal("24.00"))

    product.price = Decimal("22.50")
    pg_session.commit()
    pg_session.expire_all()

    assert repository.get_product(product.id).price == Decimal("22.50")


def test_a_deleted_product_is_not_found(repository):
    product = repository.add_product("Teapot", Decimal("24.00"))

    repository.delete_product(product)

    with pytest.raises(NoResultFound):
        repository.get_product(product.id)


@pytest.mark.parametrize(
    ("wrong", "constraint"),
    [({"price": Decimal("-0.01")}, "ck_products_price"), ({"stock": -1}, "ck_products_stock")],
)
def test_a_product_has_no_negative_numbers(pg_session, wrong, constraint):
    pg_session.add(ProductFactory(**wrong))

    with pytest.raises(IntegrityError, match=constraint):
        pg_session.flush()


def test_an_order_takes_its_products_out_of_stock(repository, pg_session):
    customer, product = CustomerFactory(), ProductFactory(price=Decimal("10.00"), stock=15)
    pg_session.add_all([customer, product])
    pg_session.commit()

    order = repository.place_order(customer.id, {product.id: 10})

    assert order.total == Decimal("90.00")
    assert product.stock == 5


def test_a_product_that_was_ordered_cannot_be_deleted(repository, pg_session):
    customer, product = CustomerFactory(), ProductFactory()
    pg_session.add_all([customer, product])
    pg_session.flush()
    repository.place_order(customer.id, {product.id: 1})

    with pytest.raises(IntegrityError, match="fk_order_items_product_id"):
        repository.delete_product(pg_session.get_one(Product, product.id))
