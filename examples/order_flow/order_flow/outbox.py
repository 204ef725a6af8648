"""Events are written in the order's own transaction, and brought to Kafka afterwards.

Postgres and Kafka share no transaction. Published before the commit, an event may tell of an order
that is never placed; published after it, the event is lost with a process that ends in between. In
the outbox it is as safe as the order itself, and it reaches Kafka at least once.
"""

import logging

from confluent_kafka import KafkaException, Producer
from pydantic import BaseModel
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from order_flow import connections, kafka
from order_flow.models import OutboxEvent
from order_flow.signals import stopping

AT_ONCE = 100
LOOK_EVERY = 1.0


def event(topic: str, key: object, body: BaseModel) -> OutboxEvent:
    return OutboxEvent(topic=topic, key=str(key), value=body.model_dump_json().encode())


def publish(sessions: sessionmaker[Session], producer: Producer) -> int:
    """Bring what is waiting to Kafka, and return how many events that were."""
    # Whoever publishes at the same time takes others.
    waiting = select(OutboxEvent).order_by(OutboxEvent.id).with_for_update(skip_locked=True)
    with sessions.begin() as session:
        events = session.scalars(waiting.limit(AT_ONCE)).all()
        kafka.send(producer, [kafka.Outgoing(e.topic, e.key, e.value) for e in events])
        for each in events:
            session.delete(each)
    return len(events)


def main() -> None:
    """Publish what the API has left: it may have ended right after a commit."""
    stop = stopping()
    with kafka.producer() as producer:
        while not stop.wait(LOOK_EVERY):
            try:
                while publish(connections.sessions(), producer):
                    pass
            except KafkaException:
                logging.exception("The events stay in the outbox")


if __name__ == "__main__":
    main()
