"""The consumer process: what it handles, and what it cannot handle."""

from uuid import uuid4

import pytest
from sqlalchemy import select

from order_flow.events import DEAD_LETTERS, ORDER_CREATED
from order_flow.models import Shipment
from tests.orders import new_order


@pytest.fixture
def place(client, payment_service, redis_client):
    """Places an order, and returns its id."""
    redis_client.set("stock:teapot", 100)
    payment_service.post("/charges").respond(201)

    def place(**stated):
        response = client.post("/orders", json=new_order(**stated))
        assert response.status_code == 201
        return response.json()["id"]

    return place


@pytest.mark.parametrize("value", [b"\xff is no JSON", b"{}", None])
def test_a_poison_message_becomes_a_dead_letter_and_the_next_one_is_handled(
    place, kafka_probe, pg_session, warehouse_catches_up, value
):
    poison = kafka_probe.publish(ORDER_CREATED, value, key="poison")
    order_id = place()

    letter = kafka_probe.expect_dead_letter(DEAD_LETTERS, source=poison)
    assert letter.key == b"poison"
    assert letter.header("error") == b"ValidationError"

    warehouse_catches_up()
    assert pg_session.get_one(Shipment, order_id).pieces == 2


@pytest.mark.usefixtures("warehouse_catches_up")
@pytest.mark.parametrize(("note", "error"), [("", b"IntegrityError"), ("\0", b"DataError")])
def test_what_postgres_never_takes_becomes_a_dead_letter(kafka_probe, note, error):
    nobody_placed = {"order_id": str(uuid4()), "customer": "Eve", "quantities": {"teapot": 1}}
    sent = kafka_probe.publish(ORDER_CREATED, {**nobody_placed, "total": "24.00", "note": note})

    letter = kafka_probe.expect_dead_letter(DEAD_LETTERS, source=sent)
    assert letter.header("error") == error


def test_an_event_that_comes_twice_is_handled_once(
    place, kafka_probe, pg_session, warehouse_catches_up
):
    place()
    event = kafka_probe.expect_one(ORDER_CREATED)
    kafka_probe.publish(ORDER_CREATED, event.value, key=event.key)

    warehouse_catches_up()

    assert pg_session.scalars(select(Shipment)).one().pieces == 2
    kafka_probe.expect_none(DEAD_LETTERS, within=0.1)


@pytest.mark.parametrize(
    "note", ["Grüße, 茶 und 🫖", "🫖" * 100_000], ids=["beyond ASCII", "400 kB"]
)
def test_a_note_arrives_as_it_was_written(
    place, kafka_probe, pg_session, warehouse_catches_up, note
):
    order_id = place(note=note)

    assert kafka_probe.expect_one(ORDER_CREATED).json()["note"] == note
    warehouse_catches_up()
    assert pg_session.get_one(Shipment, order_id).note == note
