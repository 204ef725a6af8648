"""Orders are packed by a consumer; what cannot be packed becomes a dead letter."""

import asyncio
import json

import pika
import pytest

ORDERS, FAILED = "orders", "orders.failed"


def declare(channel):
    """What the application declares when it starts."""
    channel.queue_declare(FAILED, durable=True)
    dead_letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": FAILED}
    channel.queue_declare(ORDERS, durable=True, arguments=dead_letters)


def place(channel, **order):
    persistent = pika.BasicProperties(content_type="application/json", delivery_mode=2)
    channel.basic_publish("", ORDERS, json.dumps(order).encode(), persistent)


def pack(channel):
    """Pack one order: acknowledge it, or let it become a dead letter. Returns it; or None."""
    method, _, body = channel.basic_get(ORDERS)
    if method is None:
        return None
    order = json.loads(body)
    if order["quantity"] > 0:
        channel.basic_ack(method.delivery_tag)
    else:
        channel.basic_reject(method.delivery_tag, requeue=False)
    return order


@pytest.fixture(scope="module")
def declared(rabbitmq_url):
    """Declared once; the tests that use it find the queues empty."""
    with pika.BlockingConnection(pika.URLParameters(rabbitmq_url)) as connection:
        declare(connection.channel())


def test_an_order_is_packed(declared, rabbitmq_channel):
    place(rabbitmq_channel, item="teapot", quantity=1)
    assert pack(rabbitmq_channel) == {"item": "teapot", "quantity": 1}
    assert pack(rabbitmq_channel) is None


def test_what_cannot_be_packed_becomes_a_dead_letter(declared, rabbitmq_channel):
    place(rabbitmq_channel, item="teapot", quantity=0)
    pack(rabbitmq_channel)

    _, properties, body = next(rabbitmq_channel.consume(FAILED, inactivity_timeout=10))
    assert json.loads(body)["quantity"] == 0
    (death,) = properties.headers["x-death"]
    assert (death["queue"], death["reason"], death["count"]) == (ORDERS, "rejected", 1)


def test_nothing_is_left_of_other_tests(declared, rabbitmq_channel):
    for queue in (ORDERS, FAILED):
        assert rabbitmq_channel.queue_declare(queue, passive=True).method.message_count == 0


def test_the_same_with_asyncio(declared, rabbitmq_async_connection):
    async def place_and_pack():
        import aio_pika

        async with rabbitmq_async_connection as connection:
            channel = await connection.channel()
            message = aio_pika.Message(b'{"item": "teapot", "quantity": 2}')
            await channel.default_exchange.publish(message, ORDERS)
            queue = await channel.get_queue(ORDERS)
            taken = await queue.get(timeout=10)
            await taken.ack()
            return json.loads(taken.body)

    assert asyncio.run(place_and_pack())["quantity"] == 2


@pytest.mark.berth_rabbitmq(isolation="vhost")
def test_in_a_virtual_host_of_its_own(rabbitmq_connection):
    channel = rabbitmq_connection.channel()
    declare(channel)
    place(channel, item="teapot", quantity=1)
    assert pack(channel)
