import asyncio

import async_billing
import billing


def test_an_order_is_billed(kafka_probe, kafka_bootstrap):
    kafka_probe.publish("orders", {"prices": [24, 24]}, key="order 1")

    billing.bill_next_order(kafka_bootstrap)

    bill = kafka_probe.expect_one("bills")
    assert bill.key == b"order 1"
    assert bill.json() == {"total": 48}
    kafka_probe.wait_caught_up("billing", "orders")


async def test_a_bill_is_awaited_while_it_is_made(kafka_async_probe, kafka_bootstrap):
    billing = asyncio.create_task(async_billing.bill_next_order(kafka_bootstrap))
    await kafka_async_probe.publish("orders", {"prices": [24, 24]}, key="order 1")

    bill = await kafka_async_probe.expect_one("bills", timeout=30)
    assert bill.key == b"order 1"
    assert bill.json() == {"total": 48}
    await billing
    await kafka_async_probe.wait_caught_up("billing", "orders")
