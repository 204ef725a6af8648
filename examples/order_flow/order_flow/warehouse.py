"""The consumer process, ``python -m order_flow.warehouse``: it packs what was ordered."""

import logging

from confluent_kafka import Message, Producer
from pydantic import ValidationError
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from order_flow import connections, kafka
from order_flow.events import DEAD_LETTERS, ORDER_CREATED, OrderCreated
from order_flow.models import Shipment
from order_flow.signals import stopping

GROUP = "warehouse"


def main() -> None:
    """Handle events until asked to end; those that are not committed by then come again."""
    stop = stopping()
    with kafka.consumer(GROUP, ORDER_CREATED) as consumer, kafka.producer() as producer:
        while not stop.is_set():
            message = consumer.poll(0.1)
            if message is None:
                continue
            if message.error():
                logging.warning("Kafka: %s", message.error())
                continue
            handle(message, connections.sessions(), producer)
            consumer.commit(message, asynchronous=False)


def handle(message: Message, sessions: sessionmaker[Session], producer: Producer) -> None:
    """Handle an event. What can never succeed becomes a dead letter; other errors are raised."""
    try:
        pack(OrderCreated.model_validate_json(message.value() or b""), sessions)
    except (ValidationError, DataError, IntegrityError) as error:
        kafka.send(producer, [dead_letter(message, error)])


def pack(event: OrderCreated, sessions: sessionmaker[Session]) -> None:
    """Pack an order, once: Kafka may deliver its event more than once."""
    pieces = sum(event.quantities.values())
    shipment = insert(Shipment).values(order_id=event.order_id, pieces=pieces, note=event.note)
    with sessions.begin() as session:
        session.execute(shipment.on_conflict_do_nothing())


def dead_letter(message: Message, error: Exception) -> kafka.Outgoing:
    """Return what cannot be handled, with its place and the reason."""
    headers = {
        "error": type(error).__name__,
        "topic": message.topic(),
        "partition": str(message.partition()),
        "offset": str(message.offset()),
    }
    return kafka.Outgoing(DEAD_LETTERS, message.key(), message.value(), headers)


if __name__ == "__main__":
    main()
