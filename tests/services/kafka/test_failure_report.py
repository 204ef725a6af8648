"""What a failing test's report tells of Kafka: what it changed, left behind, and ran into."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_berth.run.reuse import kept_states
from pytest_berth.services.kafka.service import KAFKA
from report_sections import did, sections

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project
    from pytest_berth.api import Service

CHANGED, LEFT = "kafka: what the test changed", "kafka: what the test left behind"
KNOWN, LOOK = "kafka: what the server knows of the error", "kafka: look yourself"


def test_what_a_test_did_to_a_broker(
    project: Project, require_service: Callable[[Service, str], None]
) -> None:
    require_service(KAFKA, "local")
    project.plugins = ("asyncio",)
    project.ini(
        "berth_kafka_source = local",
        "berth_kafka_topics = orders",
        "  payments",
        "berth_kafka_settings = auto.create.topics.enable = false",
        "berth_report_lines = 40",
        "asyncio_mode = auto",
    )
    project.conftest(
        """
        import os
        import signal
        import pytest
        from pytest_berth import wait_for
        from pytest_berth.services.kafka import topics

        @pytest.fixture
        def seen(_kafka_isolation):
            brokers = _kafka_isolation.clients.brokers  # which see last what was done last
            return lambda _: wait_for(
                lambda: len(topics.find(brokers, ["orders"])["orders"].leaders) == 3
            )

        @pytest.hookimpl(tryfirst=True)
        def pytest_runtest_teardown(item):
            if item.name == "test_suspended":
                os.kill(item.funcargs["kafka_server"].server.handle["pid"], signal.SIGCONT)
        """
    )
    project.write(
        test_it="""
        import os
        import signal
        import pytest
        from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
        from confluent_kafka import KafkaException, Producer
        from confluent_kafka.admin import AdminClient, NewTopic
        from kafka import KafkaProducer
        from kafka.admin import NewPartitions
        from pytest_berth import wait_for

        def test_nothing(kafka_probe):
            assert False, "on purpose"

        def test_records(kafka_probe, kafka_admin, kafka_consumer, seen):
            kafka_probe.publish("orders", {"id": 1, "password": "hunter2"}, key="one",
                                headers={"trace": "t1", "authorization": "hunter2"})
            kafka_consumer.subscribe(["orders"])
            wait_for(lambda: kafka_consumer.poll(1000), 60)
            kafka_consumer.commit()
            for number in range(7):
                kafka_probe.publish("orders", f"record {number}")
            kafka_probe.publish("payments", None, key="gone")
            own = kafka_probe.topic("own", partitions=2)
            kafka_admin.delete_topics(["payments"])
            kafka_admin.create_topics({"later": {"num_partitions": 1, "replication_factor": 1}})
            seen(kafka_admin.create_partitions({"orders": 3}))
            assert False, "on purpose"

        def test_left(kafka_probe, kafka_bootstrap, request):
            producer = Producer({"bootstrap.servers": kafka_bootstrap, "transactional.id": "till"})
            producer.init_transactions(60)
            producer.begin_transaction()
            producer.produce("orders", b"never committed")
            producer.flush(60)
            from kafka import KafkaConsumer
            consumer = KafkaConsumer(
                "payments", group_id="billing", bootstrap_servers=kafka_bootstrap,
                client_id="worker",
            )
            request.addfinalizer(consumer.close)
            wait_for(lambda: consumer.poll(100) or consumer.assignment(), 60)
            assert False, "on purpose"

        def test_sent(kafka_probe, kafka_producer):
            kafka_producer.send("orders", {"password": "hunter2"}.__repr__().encode(), key=b"k",
                                headers=[("token", b"hunter2"), ("trace", b"t1")])
            kafka_producer.flush()
            kafka_producer.send("payments", b"x" * 2000)
            kafka_probe.expect_one("orders")
            kafka_probe.expect_one("refunds", timeout=0.1)

        def test_no_topic(kafka_bootstrap):
            producer = KafkaProducer(bootstrap_servers=kafka_bootstrap, max_block_ms=500)
            try:
                producer.send("ordres", b"").get(5)
            finally:
                producer.close(0)

        def test_no_topic_in_c(kafka_bootstrap):
            producer = Producer({
                "bootstrap.servers": kafka_bootstrap, "topic.metadata.propagation.max.ms": 200,
            })
            errors = []
            producer.produce("ordres", b"", on_delivery=lambda error, _: errors.append(error))
            producer.flush(60)
            raise KafkaException(errors[0])

        async def test_too_large(kafka_bootstrap, kafka_async_probe):
            await kafka_async_probe.publish("payments", "async")
            async with AIOKafkaConsumer(
                "payments", bootstrap_servers=kafka_bootstrap, auto_offset_reset="earliest"
            ) as consumer:
                await consumer.getone()
            async with AIOKafkaProducer(
                bootstrap_servers=kafka_bootstrap, max_request_size=5_000_000
            ) as producer:
                await producer.send_and_wait("orders", b"x" * 2_000_000)

        def test_suspended(kafka_probe, kafka_server):
            kafka_probe.publish("orders", 1)
            os.kill(kafka_server.server.handle["pid"], signal.SIGSTOP)
            assert False, "on purpose"
        """
    )
    result = project.run("-p", "no:randomly", "--tb=short", "-rN")
    result.assert_outcomes(failed=8)

    found = sections(result, "test_nothing")
    assert {CHANGED, LEFT, KNOWN}.isdisjoint(found)
    shell, afterwards = found[LOOK].splitlines()
    assert re.fullmatch(r"kcat -b [\d.:]+ -C -o beginning -e -t orders", shell)
    assert afterwards == kept_states.LOOK_AFTERWARDS
    found = sections(result, "test_records")
    changed = re.sub(r"berth-\w+-main-", "", found[CHANGED]).splitlines()
    assert changed == [
        "- topic payments",
        "+ topic 2-test_records-own, 2 partitions",
        "+ topic later, 1 partition",
        "topic orders: partition 0 got offsets 0 to 7",
        "  0@0 key 'one' {trace: 't1', authorization: ***} '{\"id\":1,\"password\":***}'",
        *(f"  0@{number + 1} 'record {number}'" for number in range(4)),
        "  ... 3 more",
        "~ topic orders: 3 partitions (were 1)",
        "group 1-test_records-group has committed orders-0 at 1 of 8",
    ]
    assert LEFT not in found  # the consumer is closed by its fixture
    assert did(result, "test_sent") == [
        "test_it.py:45 publish to orders [key='k', value=\"{'password': ***}\", header token=***,"
        " header trace='t1']",
        f"test_it.py:48 publish to payments [value='{'x' * 40}'... (2000 long)]",
        "test_it.py:49 read orders: 1 record",
        "test_it.py:50 read refunds: 0 records",
    ]
    large = f"publish to orders [value='{'x' * 40}'... (2000000 long)]"
    assert did(result, "test_too_large") == [
        "test_it.py:69 publish to payments [value='async']",
        "test_it.py:73 consume 0@1 of payments [value='async']",
        f"test_it.py:77 {large}",
        f"! test_it.py:77 {large} -> MessageSizeTooLargeError: [Error 10] MessageSizeTooLargeError",
    ]
    assert did(result, "test_no_topic")[0].startswith(
        "! test_it.py:55 publish to ordres [value=''] -> Ka"
    )
    assert "consume 0@0 of orders [key='one', value=" in did(result, "test_records")[1]
    found = sections(result, "test_left")
    assert "offsets without a committed record: 1 (a transaction is open, or ab" in found[CHANGED]
    assert found[LEFT].splitlines() == [
        "the transaction of 'till' is open: it has written to orders; who reads committed records"
        " sees no later ones",
        "the group 'billing' (protocol classic) is stable; worker has payments-0",
    ]
    topics = [
        "topics of this run: orders, payments",
        "the broker creates none by itself: auto.create.topics.enable = false",
    ]
    named = "there is no topic 'ordres'; there is: orders"
    assert sections(result, "test_no_topic")[KNOWN].splitlines() == [named, *topics]
    assert sections(result, "test_no_topic_in_c")[KNOWN].splitlines() == topics
    assert sections(result, "test_too_large")[KNOWN].splitlines() == [
        "topic orders takes 1048588 bytes at most (max.message.bytes)",
        "topics without a limit of their own take 1048588 bytes at most",
    ]
    found = sections(result, "test_suspended")
    assert found[CHANGED].startswith("cannot be told: TimeoutError")
    assert LOOK in found
    assert LEFT not in found


def test_only_what_is_the_worker_s_is_told_of_a_broker_of_others(on_broker: Project) -> None:
    on_broker.plugins = ("xdist",)
    on_broker.ini("berth_kafka_topics = orders", "berth_export = PREFIX = {kafka_prefix}")
    on_broker.write(
        test_it="""
        import pytest

        @pytest.mark.parametrize("number", [1, 2])
        def test_it(kafka_probe, number):
            kafka_probe.publish("orders", f"of {number}")
            kafka_probe.publish(kafka_probe.topic("own"), f"own of {number}")
            assert False, "on purpose"
        """
    )
    result = on_broker.run("-n", "2", "--tb=short", "-rN")
    result.assert_outcomes(failed=2)
    for number in (1, 2):
        changed = sections(result, rf"test_it\[{number}\]")[CHANGED]
        assert re.sub(r"berth-\w+-gw\d-", "", changed).splitlines() == [
            f"+ topic 1-test_it-{number}--own, 1 partition",
            f"topic 1-test_it-{number}--own: partition 0 got offset 0",
            f"  0@0 'own of {number}'",
            "topic orders: partition 0 got offset 0",
            f"  0@0 'of {number}'",
        ]
