"""Bills orders, with aiokafka."""

import json

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer


async def bill_next_order(bootstrap: str) -> None:
    consumer = AIOKafkaConsumer(
        "orders",
        bootstrap_servers=bootstrap,
        group_id="billing",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    async with consumer, AIOKafkaProducer(bootstrap_servers=bootstrap) as producer:
        order = await consumer.getone()
        total = sum(json.loads(order.value)["prices"])
        await producer.send_and_wait("bills", json.dumps({"total": total}).encode(), key=order.key)
        await consumer.commit()
