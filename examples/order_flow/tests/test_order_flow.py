import json
from uuid import uuid4

from order_flow.models import Order, Shipment


def test_an_order_goes_all_the_way(
    client, payment_service, pg_session, redis_client, kafka_probe, warehouse_catches_up
):
    redis_client.set("stock:teapot", 100)
    charges = payment_service.post("/charges").respond(201)
    order_id = uuid4()
    order = {"id": str(order_id), "customer": "Ada", "quantities": {"teapot": 2}}

    response = client.post("/orders", json=order)

    assert response.status_code == 201
    assert response.json() == {"id": str(order_id), "total": "48.00"}

    saved = pg_session.get_one(Order, order_id)
    assert saved.customer == "Ada"
    assert [(item.sku, item.quantity) for item in saved.items] == [("teapot", 2)]

    assert charges.call_count == 1
    assert json.loads(charges.calls.last.request.content)["amount"] == "48.00"

    event = kafka_probe.expect_one("order.created")
    assert event.key == str(order_id).encode()
    assert event.json()["quantities"] == {"teapot": 2}

    assert redis_client.get("stock:teapot") == b"98"

    warehouse_catches_up()
    assert pg_session.get_one(Shipment, order_id).pieces == 2
