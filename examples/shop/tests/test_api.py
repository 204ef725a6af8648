"""The application shares the session of the test: each sees what the other has written."""

import pytest

from shop.models import Customer
from tests.factories import CustomerFactory, ProductFactory


@pytest.fixture
def customer(pg_session):
    customer = CustomerFactory()
    pg_session.add(customer)
    pg_session.commit()
    return customer


@pytest.fixture
def product(pg_session):
    product = ProductFactory(name="Teapot", price=24, stock=3)
    pg_session.add(product)
    pg_session.commit()
    return product


def test_a_customer_is_created(client, pg_session):
    response = client.post("/customers", json={"email": "ada@example.com", "name": "Ada"})

    assert response.status_code == 201
    assert pg_session.get_one(Customer, response.json()["id"]).email == "ada@example.com"


def test_a_second_customer_of_the_same_email_is_a_conflict(client, customer):
    response = client.post("/customers", json={"email": customer.email, "name": "Ada"})

    assert response.status_code == 409
    assert response.json() == {"detail": "This email address is already registered."}


def test_a_product_is_shown(client, product):
    response = client.get(f"/products/{product.id}")

    assert response.status_code == 200
    assert response.json() == {
        "id": product.id,
        "name": "Teapot",
        "price": "24.00",
        "stock": 3,
    }


def test_an_unknown_product_is_not_found(client):
    assert client.get("/products/1").status_code == 404


def test_an_order_is_placed(client, customer, product):
    response = client.post(
        "/orders", json={"customer_id": customer.id, "quantities": {product.id: 2}}
    )

    assert response.status_code == 201
    assert response.json()["total"] == "48.00"
    assert product.stock == 1


def test_more_than_is_in_stock_is_a_conflict_and_takes_nothing(client, customer, product):
    response = client.post(
        "/orders", json={"customer_id": customer.id, "quantities": {product.id: 4}}
    )

    assert response.status_code == 409
    assert response.json() == {"detail": "Not that many are in stock."}
    assert product.stock == 3
