"""These tests ask for `pg_engine`: their commits are real, the database is cleaned afterwards."""

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from threading import Barrier

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from shop.api import app
from shop.db import get_engine
from shop.models import Order
from shop.repository import ShopRepository
from tests.factories import CustomerFactory, ProductFactory


@pytest.fixture
def teapot(pg_engine):
    with Session(pg_engine, expire_on_commit=False) as session, session.begin():
        teapot = ProductFactory(name="Teapot", price=Decimal("24.00"), stock=3)
        session.add(teapot)
    return teapot


@pytest.fixture
def customer(pg_engine):
    with Session(pg_engine, expire_on_commit=False) as session, session.begin():
        customer = CustomerFactory()
        session.add(customer)
    return customer


def test_an_order_is_seen_by_others_once_it_is_committed(pg_engine, customer, teapot):
    with Session(pg_engine) as buyer, Session(pg_engine) as clerk:
        ShopRepository(buyer).place_order(customer.id, {teapot.id: 2})
        assert clerk.scalar(select(func.count()).select_from(Order)) == 0

        buyer.commit()
        assert clerk.scalar(select(func.count()).select_from(Order)) == 1
        assert ShopRepository(clerk).get_product(teapot.id).stock == 1


def test_two_buyers_cannot_both_have_the_last_pieces(pg_engine, customer, teapot):
    ready = Barrier(2, timeout=10)

    def buy() -> bool:
        with Session(pg_engine) as session:
            session.connection()
            ready.wait()
            try:
                ShopRepository(session).place_order(customer.id, {teapot.id: 2})
                session.commit()
            except IntegrityError:
                return False
            return True

    with ThreadPoolExecutor() as pool:
        buyers = [pool.submit(buy) for _ in range(2)]

    assert sorted(buyer.result() for buyer in buyers) == [False, True]


def test_the_sales_are_those_of_the_last_refresh(pg_engine, customer, teapot):
    with Session(pg_engine) as buyer, buyer.begin():
        ShopRepository(buyer).place_order(customer.id, {teapot.id: 3})

    with Session(pg_engine) as session, session.begin():
        repository = ShopRepository(session)
        assert repository.list_sales() == []
        repository.refresh_sales()
        assert repository.list_sales() == [("Teapot", 3, Decimal("72.00"))]


def test_the_api_commits_what_it_has_answered(pg_engine, customer, teapot):
    app.dependency_overrides[get_engine] = lambda: pg_engine
    try:
        order = {"customer_id": customer.id, "quantities": {teapot.id: 1}}
        assert TestClient(app).post("/orders", json=order).status_code == 201
    finally:
        del app.dependency_overrides[get_engine]

    with Session(pg_engine) as session:
        assert ShopRepository(session).get_product(teapot.id).stock == 2


@pytest.mark.parametrize("run", ["first", "second"])
def test_each_test_starts_clean(pg_engine, run):
    with Session(pg_engine) as session, session.begin():
        repository = ShopRepository(session)
        assert repository.list_products() == []
        assert repository.list_sales() == []

        product = repository.add_product("Kettle", Decimal("39.50"), stock=9)
        customer = repository.add_customer("ada@example.com", "Ada")
        repository.place_order(customer.id, {product.id: 1})
        repository.refresh_sales()
