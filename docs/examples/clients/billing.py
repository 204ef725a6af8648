"""Bills orders, with confluent-kafka."""

import json

from confluent_kafka import Consumer, Producer


def bill_next_order(bootstrap: str) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "billing",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe(["orders"])
    try:
        order = consumer.poll(10)
        total = sum(json.loads(order.value())["prices"])
        producer.produce("bills", json.dumps({"total": total}), key=order.key())
        producer.flush(10)
        consumer.commit(order, asynchronous=False)
    finally:
        consumer.close()
