"""Events wait in the outbox until Kafka has them."""

from uuid import uuid4

import pytest
from confluent_kafka import KafkaException
from sqlalchemy import select

from order_flow import connections, kafka, outbox
from order_flow.events import ORDER_CREATED, OrderCreated
from order_flow.models import Order, OutboxEvent


@pytest.fixture(autouse=True)
def waiting(pg_session):
    """An order whose event was not published: the process had ended after the commit."""
    order = Order(id=uuid4(), customer="Ada", note="")
    event = OrderCreated(
        order_id=order.id, customer="Ada", quantities={"teapot": 2}, total="48.00", note=""
    )
    pg_session.add_all([order, outbox.event(ORDER_CREATED, order.id, event)])
    pg_session.commit()


@pytest.mark.usefixtures("warehouse_catches_up")
def test_what_was_left_is_published_once(kafka_probe):
    with kafka.producer() as producer:
        published = [outbox.publish(connections.sessions(), producer) for _ in range(2)]

    assert published == [1, 0]
    kafka_probe.expect_one(ORDER_CREATED)


def test_an_event_that_kafka_does_not_take_stays(kafka_bootstrap, pg_session):
    event = pg_session.scalars(select(OutboxEvent)).one()
    event.topic = "no name that Kafka allows"
    pg_session.commit()

    with kafka.producer() as producer, pytest.raises(KafkaException):
        outbox.publish(connections.sessions(), producer)

    assert pg_session.scalars(select(OutboxEvent)).one() is event
