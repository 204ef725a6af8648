"""Consumer groups seen from outside: assignment, lag, catching up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Consumer, Producer

from pytest_berth.services.kafka.consumer_groups import Groups
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from pytest_berth.services.kafka.probe import Probe

# On a busy machine kafka-python 3.0 sometimes does not finish joining a group.
pytestmark = pytest.mark.flaky(reruns=3)


def _read(consumer: Any, number: int) -> None:
    found: list[Any] = []

    def enough() -> bool:
        for batch in consumer.poll(100).values():
            found.extend(batch)
        return len(found) >= number

    wait_for(enough, 20, interval=0)


def test_a_group_is_assigned_once_its_consumer_has_joined(
    kafka_probe: Probe, kafka_topic: str, kafka_consumer: Any
) -> None:
    group = kafka_consumer.config["group_id"]
    with pytest.raises(TimeoutError, match="consumers of the group"):
        kafka_probe.wait_assigned(group, kafka_topic, timeout=0.2)
    kafka_consumer.subscribe([kafka_topic])
    groups = Groups(kafka_probe._isolated.clients.brokers)
    # kafka-python may join twice, and does so while it is polled.
    wait_for(
        lambda: (kafka_consumer.poll(50), groups.assigned(group, kafka_topic))[1], 20, interval=0
    )
    kafka_probe.wait_assigned(group, kafka_topic)
    with pytest.raises(TimeoutError, match="consumers of the group"):
        kafka_probe.wait_assigned(group, kafka_probe.topic("another"), timeout=0.2)


@pytest.mark.berth_kafka(scope="test")
def test_a_broker_that_has_had_no_group_yet_can_be_asked_for_one(
    kafka_probe: Probe, kafka_topic: str
) -> None:
    with pytest.raises(TimeoutError, match="consumers of the group"):
        kafka_probe.wait_assigned("nobody", kafka_topic, timeout=0.1)


@pytest.mark.berth_kafka(scope="test")
def test_what_a_group_has_not_read_is_known_before_the_first_group_has_come(
    kafka_probe: Probe, kafka_topic: str
) -> None:
    kafka_probe.publish(kafka_topic, "unread")
    assert kafka_probe.lag("nobody", kafka_topic) == 1


def test_lag_counts_records_that_are_not_committed(
    kafka_probe: Probe, kafka_topic: str, kafka_consumer: Any
) -> None:
    group = kafka_consumer.config["group_id"]
    for number in range(4):
        kafka_probe.publish(kafka_topic, str(number))
    assert kafka_probe.lag(group, kafka_topic) == 4
    kafka_consumer.subscribe([kafka_topic])
    _read(kafka_consumer, 4)
    kafka_consumer.commit()
    assert kafka_probe.lag(group, kafka_topic) == 0
    kafka_probe.publish(kafka_topic, "more")
    assert kafka_probe.lag(group, kafka_topic) == 1


def test_a_group_that_does_not_catch_up_is_shown_with_its_lag(
    kafka_probe: Probe, kafka_topic: str
) -> None:
    kafka_probe.publish(kafka_topic, "unread")
    group = kafka_probe.group()
    with pytest.raises(AssertionError) as failure:
        kafka_probe.wait_caught_up(group, kafka_topic, timeout=0.2)
    assert f"the group {group!r} has not caught up" in str(failure.value)
    assert f"{group}: lag 1, committed nothing" in str(failure.value)


def test_transaction_markers_and_aborted_records_are_no_lag(
    kafka_probe: Probe, kafka_topic: str, kafka_bootstrap: str, kafka_consumer: Any
) -> None:
    producer = Producer(
        {"bootstrap.servers": kafka_bootstrap, "transactional.id": kafka_probe.group("tx")}
    )
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(kafka_topic, b"committed")
    producer.commit_transaction(20)
    producer.begin_transaction()
    producer.produce(kafka_topic, b"aborted")
    producer.flush(10)
    producer.abort_transaction(20)
    assert kafka_probe.expect_one(kafka_topic).value == b"committed"
    group = kafka_consumer.config["group_id"]
    assert kafka_probe.lag(group, kafka_topic) == 1
    kafka_consumer.subscribe([kafka_topic])
    _read(kafka_consumer, 1)
    from kafka import OffsetAndMetadata, TopicPartition

    # Where a consumer commits record by record, the markers behind stay uncommitted.
    kafka_consumer.commit({TopicPartition(kafka_topic, 0): OffsetAndMetadata(1, "", -1)})
    kafka_probe.wait_caught_up(group, kafka_topic)


def test_a_group_that_nobody_knows_is_named(kafka_probe: Probe, kafka_topic: str) -> None:
    kafka_probe.publish(kafka_topic, "unread")
    lag = kafka_probe.lag("nobody", kafka_topic)
    assert lag == 1
    assert repr(lag).startswith("1 (there is no group 'nobody'; there are: ")
    with pytest.raises(TimeoutError, match=r"there is no group 'nobody'; there are: "):
        kafka_probe.wait_assigned("nobody", kafka_topic, timeout=0.1)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_group_of_either_protocol_is_described(
    kafka_probe: Probe, kafka_topic: str, kafka_bootstrap: str, protocol: str
) -> None:
    group = kafka_probe.group()
    consumer = Consumer(
        {"bootstrap.servers": kafka_bootstrap, "group.id": group, "group.protocol": protocol}
    )
    consumer.subscribe([kafka_topic])
    try:
        groups = Groups(kafka_probe._isolated.clients.brokers)
        wait_for(lambda: (consumer.poll(0.05), groups.assigned(group, kafka_topic))[1], 60)
        kafka_probe.wait_assigned(group, kafka_topic)
        with pytest.raises(TimeoutError) as failure:
            kafka_probe.wait_assigned(group, kafka_probe.topic("another"), timeout=0.1)
        assert f"(protocol {protocol}) is stable; rdkafka has {kafka_topic}-0" in str(failure.value)
    finally:
        consumer.close()
