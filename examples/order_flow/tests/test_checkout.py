"""What can go wrong while an order is placed, and what is left of it."""

import httpx
import pytest
from sqlalchemy import func, select

from order_flow.events import ORDER_CREATED
from order_flow.models import Order, OrderItem, OutboxEvent, Shipment
from tests.orders import new_order


@pytest.fixture(autouse=True)
def teapots(redis_client):
    redis_client.set("stock:teapot", 100)


@pytest.fixture
def assert_nothing_is_left(pg_session, redis_client, kafka_probe):
    def check():
        for table in (Order, OrderItem, OutboxEvent, Shipment):
            assert pg_session.scalar(select(func.count()).select_from(table)) == 0
        assert redis_client.keys() == [b"stock:teapot"]
        assert redis_client.get("stock:teapot") == b"100"
        kafka_probe.expect_none(ORDER_CREATED, within=0.1)

    return check


def test_a_refused_payment_leaves_nothing_anywhere(client, payment_service, assert_nothing_is_left):
    charges = payment_service.post("/charges").respond(402)

    assert client.post("/orders", json=new_order()).status_code == 402

    assert charges.called
    assert_nothing_is_left()


@pytest.mark.parametrize("error", [httpx.ReadTimeout, httpx.ConnectTimeout, httpx.ConnectError])
def test_a_payment_service_that_does_not_answer_leaves_nothing_anywhere(
    client, payment_service, assert_nothing_is_left, error
):
    payment_service.post("/charges").mock(side_effect=error)

    assert client.post("/orders", json=new_order()).status_code == 504

    assert_nothing_is_left()


def test_after_a_time_out_the_same_order_is_charged_under_the_same_key(client, payment_service):
    answers = [httpx.ReadTimeout, httpx.Response(201)]
    charges = payment_service.post("/charges").mock(side_effect=answers)
    order = new_order()

    assert client.post("/orders", json=order).status_code == 504
    assert client.post("/orders", json=order).status_code == 201

    keys = [call.request.headers["Idempotency-Key"] for call in charges.calls]
    assert keys == [order["id"], order["id"]]


def test_more_than_is_in_stock_is_refused_and_not_charged(client, assert_nothing_is_left):
    order = new_order(quantities={"teapot": 101})

    assert client.post("/orders", json=order).status_code == 409

    assert_nothing_is_left()


def test_where_one_product_is_out_of_stock_the_other_stays_there(client, assert_nothing_is_left):
    order = new_order(quantities={"teapot": 2, "tea": 1})

    assert client.post("/orders", json=order).status_code == 409

    assert_nothing_is_left()


def test_an_unknown_product_is_not_found(client, assert_nothing_is_left):
    assert client.post("/orders", json=new_order(quantities={"pot": 1})).status_code == 404

    assert_nothing_is_left()


def test_what_cannot_be_saved_is_refused_and_not_charged(client, assert_nothing_is_left):
    assert client.post("/orders", json=new_order(note="\0")).status_code == 422

    assert_nothing_is_left()


def test_an_order_that_is_sent_twice_is_placed_and_charged_once(
    client, payment_service, redis_client, kafka_probe
):
    charges = payment_service.post("/charges").respond(201)
    order = new_order()

    responses = [client.post("/orders", json=order) for _ in range(2)]

    assert [response.status_code for response in responses] == [201, 201]
    assert charges.call_count == 1
    assert redis_client.get("stock:teapot") == b"98"
    kafka_probe.expect_one(ORDER_CREATED)
