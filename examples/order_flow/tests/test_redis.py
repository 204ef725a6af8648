"""Keys: how long they live, and what happens when two want the same one."""

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from pytest_berth import wait_for

from order_flow.stock import PLACED_WITHIN, lock_key
from tests.orders import new_order


@pytest.fixture(autouse=True)
def teapots(redis_client):
    redis_client.set("stock:teapot", 3)


def test_an_order_is_locked_while_it_is_paid_and_no_longer_than_that(
    client, payment_service, redis_client
):
    order = new_order()
    lifetimes = []

    def pay(_request):
        lifetimes.append(redis_client.ttl(lock_key(order["id"])))
        return httpx.Response(201)

    payment_service.post("/charges").mock(side_effect=pay)

    assert client.post("/orders", json=order).status_code == 201
    assert 0 < lifetimes[0] <= PLACED_WITHIN
    assert not redis_client.exists(lock_key(order["id"]))


def test_the_lock_of_a_process_that_has_died_goes_by_itself(client, payment_service, redis_client):
    payment_service.post("/charges").respond(201)
    order = new_order()
    redis_client.set(lock_key(order["id"]), "the dead one's", px=50)

    wait_for(lambda: client.post("/orders", json=order).status_code == 201)


def test_an_order_that_is_being_placed_collides_with_the_same_order(client, redis_client):
    order = new_order()
    redis_client.set(lock_key(order["id"]), "somebody else's")

    response = client.post("/orders", json=order)

    assert response.status_code == 409
    assert response.json() == {"detail": "This order is being placed already."}
    assert redis_client.get(lock_key(order["id"])) == b"somebody else's"


def test_two_buyers_cannot_both_have_the_last_pieces(client, payment_service, redis_client):
    payment_service.post("/charges").respond(201)

    with ThreadPoolExecutor() as pool:
        buyers = [pool.submit(client.post, "/orders", json=new_order()) for _ in range(2)]

    assert sorted(buyer.result().status_code for buyer in buyers) == [201, 409]
    assert redis_client.get("stock:teapot") == b"1"


@pytest.mark.parametrize("test", range(4))
def test_the_same_key_in_another_test_is_another_key(redis_client, test):
    assert redis_client.get("stock:teapot") == b"3"
    assert redis_client.set("seen", test, nx=True)
