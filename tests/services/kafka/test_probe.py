"""`kafka_probe`: publishing, reading, and what its failures tell."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from confluent_kafka import Producer
from kafka import codec

from pytest_berth.errors import RecordError
from pytest_berth.services.kafka.kafka_python import KafkaProducer
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from pytest_berth.services.kafka.probe import Probe


def test_a_dict_is_published_as_json(kafka_probe: Probe, kafka_topic: str) -> None:
    kafka_probe.publish(kafka_topic, {"id": 1, "name": "Łódź"}, key="one", headers={"trace": "abc"})
    record = kafka_probe.expect_one(kafka_topic)
    assert record.json() == {"id": 1, "name": "Łódź"}
    assert (record.key, record.header("trace")) == (b"one", b"abc")
    assert (record.topic, record.partition, record.offset) == (kafka_topic, 0, 0)


def test_bytes_are_published_as_they_are(kafka_probe: Probe, kafka_topic: str) -> None:
    kafka_probe.publish(kafka_topic, b"\xff\x00", key=b"\x01")
    record = kafka_probe.expect_one(kafka_topic)
    assert (record.value, record.key) == (b"\xff\x00", b"\x01")


def test_none_is_published_as_a_tombstone(kafka_probe: Probe, kafka_topic: str) -> None:
    kafka_probe.publish(kafka_topic, None, key="gone")
    assert kafka_probe.expect_one(kafka_topic).value is None


def test_publish_returns_the_record_as_it_is_read(kafka_probe: Probe, kafka_topic: str) -> None:
    sent = kafka_probe.publish(kafka_topic, "x", headers=[("a", "1"), ("a", "2")])
    assert kafka_probe.expect_one(kafka_topic) == sent
    assert sent.headers == (("a", b"1"), ("a", b"2"))


def test_a_large_record_comes_whole(kafka_probe: Probe, kafka_topic: str) -> None:
    kafka_probe.publish(kafka_topic, b"x" * 900_000)
    assert len(kafka_probe.expect_one(kafka_topic).value or b"") == 900_000


def test_collect_returns_the_first_records_in_their_order(
    kafka_probe: Probe, kafka_topic: str
) -> None:
    for number in range(5):
        kafka_probe.publish(kafka_topic, {"n": number})
    assert [r.json()["n"] for r in kafka_probe.collect(kafka_topic, 3)] == [0, 1, 2]


def test_collect_counts_only_what_where_picks(kafka_probe: Probe, kafka_topic: str) -> None:
    for number in range(6):
        kafka_probe.publish(kafka_topic, {"n": number})
    even = kafka_probe.collect(kafka_topic, 3, where=lambda record: record.json()["n"] % 2 == 0)
    assert [record.json()["n"] for record in even] == [0, 2, 4]


def test_collect_reads_every_partition(kafka_probe: Probe) -> None:
    topic = kafka_probe.topic("wide", partitions=3)
    for partition in range(3):
        kafka_probe.publish(topic, f"p{partition}", partition=partition)
    found = kafka_probe.collect(topic, 3)
    assert sorted((r.partition, r.text()) for r in found) == [(0, "p0"), (1, "p1"), (2, "p2")]


def test_collect_says_how_many_came(kafka_probe: Probe, kafka_topic: str) -> None:
    kafka_probe.publish(kafka_topic, "only")
    kafka_probe.expect_one(kafka_topic)
    with pytest.raises(AssertionError, match=r"1 of 2 records came to .* within 1 s"):
        kafka_probe.collect(kafka_topic, 2, timeout=1)


def test_settings_of_a_topic_are_in_force(kafka_probe: Probe, kafka_admin: object) -> None:
    topic = kafka_probe.topic("small", config={"max.message.bytes": 2000})
    with pytest.raises(Exception, match=r"MessageSizeTooLarge|RecordTooLarge|larger"):
        kafka_probe.publish(topic, b"x" * 5000)


def test_expect_one_refuses_two(kafka_probe: Probe, kafka_topic: str) -> None:
    kafka_probe.publish(kafka_topic, "first")
    kafka_probe.publish(kafka_topic, "second")
    with pytest.raises(AssertionError, match=r"2 records are in .*, where one was expected"):
        kafka_probe.expect_one(kafka_topic)


def test_expect_none_passes_after_its_time(kafka_probe: Probe, kafka_topic: str) -> None:
    began = time.monotonic()
    kafka_probe.expect_none(kafka_topic, within=0.3)
    assert time.monotonic() - began >= 0.3


def test_expect_none_fails_as_soon_as_a_record_is_there(
    kafka_probe: Probe, kafka_topic: str
) -> None:
    kafka_probe.publish(kafka_topic, "unwanted")
    began = time.monotonic()
    with pytest.raises(AssertionError, match=r"a record came to(.|\n)*unwanted"):
        kafka_probe.expect_none(kafka_topic, within=100)
    assert time.monotonic() - began < 50


def test_after_a_mark_only_later_records_are_seen(kafka_probe: Probe, kafka_topic: str) -> None:
    kafka_probe.publish(kafka_topic, "before")
    kafka_probe.mark(kafka_topic)
    kafka_probe.expect_none(kafka_topic, within=0.1)
    kafka_probe.publish(kafka_topic, "after")
    assert kafka_probe.expect_one(kafka_topic).text() == "after"


def test_what_has_become_of_a_topic_meanwhile_is_seen(kafka_probe: Probe, kafka_admin: Any) -> None:
    topic = kafka_probe.topic("grows")
    kafka_probe.publish(topic, "first")
    kafka_admin.create_partitions({topic: 12})
    wait_for(lambda: len(kafka_admin.describe_topics([topic])[0]["partitions"]) == 12)
    keys = [f"key {number}" for number in range(20)]
    found = {kafka_probe.publish(topic, "by key", key=key).partition for key in keys}
    assert len(found) > 1
    assert kafka_probe.publish(topic, "there", partition=11).partition == 11
    kafka_admin.delete_topics([topic])
    wait_for(lambda: topic not in kafka_admin.list_topics())
    sent = kafka_probe.publish(topic, "made anew")  # as the broker creates missing topics
    assert (sent.partition, sent.offset) == (0, 0)
    assert kafka_probe.expect_one(topic) == sent


def test_expect_one_waits_for_the_end_of_a_transaction(
    kafka_probe: Probe, kafka_topic: str, kafka_bootstrap: str
) -> None:
    first = kafka_probe.publish(kafka_topic, "first")
    with closing(
        KafkaProducer(bootstrap_servers=kafka_bootstrap, transactional_id=kafka_probe.group())
    ) as producer:
        producer.init_transactions()
        for end in (producer.abort_transaction, producer.commit_transaction):
            producer.begin_transaction()
            producer.send(kafka_topic, b"second").get(10)
            ended = threading.Timer(0.3, end)
            ended.start()
            if end == producer.abort_transaction:
                assert kafka_probe.expect_one(kafka_topic) == first
            else:
                with pytest.raises(AssertionError, match="2 records are in"):
                    kafka_probe.expect_one(kafka_topic)
            ended.join()


def test_a_topic_that_the_application_creates_is_waited_for(kafka_probe: Probe) -> None:
    topic = kafka_probe.group("auto-created")
    kafka_probe.publish(topic, "hello")
    assert kafka_probe.expect_one(topic).text() == "hello"


def test_reading_does_not_create_a_topic(kafka_probe: Probe) -> None:
    topic = kafka_probe.group("never-created")
    with pytest.raises(AssertionError, match=f"there is no topic '{topic}'; there are: "):
        kafka_probe.expect_one(topic, timeout=0.1)
    with pytest.raises(AssertionError, match=f"there is no topic '{topic}'; there are: "):
        kafka_probe.expect_one(topic, timeout=0.1)


def test_a_failure_shows_offsets_records_and_groups(kafka_probe: Probe, kafka_topic: str) -> None:
    kafka_probe.publish(kafka_topic, {"id": 7}, key="k7", headers={"trace": "abc"})
    kafka_probe.publish(kafka_topic, "y" * 1000, key="k8")
    with pytest.raises(AssertionError) as failure:
        kafka_probe.expect_one(kafka_topic, where=lambda record: record.key == b"k9", timeout=0.1)
    lines = [line.strip() for line in str(failure.value).splitlines()]
    assert lines[0] == f"no record came to '{kafka_topic}' within 0.1 s"
    assert "partition 0: offsets 0 to 2, read from 0" in lines
    assert '0@0 key=k7 trace=abc: {"id":7}' in lines
    assert f"0@1 key=k8: {'y' * 200}... (1000 bytes)" in lines
    assert "no consumer group has committed an offset in it" in lines


def test_records_that_are_packed_in_a_way_not_known_here_are_told(
    kafka_probe: Probe, kafka_topic: str
) -> None:
    if codec.has_zstd():
        pytest.skip("a package unpacks zstd here")
    settings = {"bootstrap.servers": kafka_probe.bootstrap, "compression.type": "zstd"}
    producer = Producer(settings)
    producer.produce(kafka_topic, b"packed" * 100)
    producer.flush(60)

    with pytest.raises(RecordError, match=r"zstd(?s:.*)kafka-python\[lz4,snappy,zstd\]"):
        kafka_probe.expect_one(kafka_topic, timeout=60)


def test_what_is_not_json_is_told_with_its_place(kafka_probe: Probe, kafka_topic: str) -> None:
    kafka_probe.publish(kafka_topic, b"{broken")
    with pytest.raises(RecordError) as error:
        kafka_probe.expect_one(kafka_topic, where=lambda record: record.json()["id"] == 1)
    message = str(error.value)
    assert "the value of a record is not JSON" in message
    assert f"topic {kafka_topic}, partition 0, offset 0" in message
    assert "{broken" in message


def test_a_dead_letter_is_known_by_the_value_inside(kafka_probe: Probe, kafka_topic: str) -> None:
    letters = kafka_probe.topic("letters")
    source = kafka_probe.publish(kafka_topic, {"id": "ß"})
    kafka_probe.publish(letters, {"error": "boom", "payload": source.text()})
    kafka_probe.publish(letters, {"error": "boom", "payload": "another"})
    assert kafka_probe.expect_dead_letter(letters, source=source).json()["error"] == "boom"


def test_a_dead_letter_is_known_by_headers(kafka_probe: Probe, kafka_topic: str) -> None:
    letters = kafka_probe.topic("letters")
    source = kafka_probe.publish(kafka_topic, b"poison")
    place = {"topic": source.topic, "partition": b"0", "offset": source.offset.to_bytes(8, "big")}
    kafka_probe.publish(letters, b"unreadable", headers=place)
    kafka_probe.publish(letters, b"unreadable", headers={"topic": "another"})
    assert kafka_probe.expect_dead_letter(letters, source=source).offset == 0
    assert kafka_probe.expect_dead_letter(letters, source=kafka_topic).offset == 0


def test_a_dead_letter_of_another_record_does_not_count(
    kafka_probe: Probe, kafka_topic: str
) -> None:
    letters = kafka_probe.topic("letters")
    source = kafka_probe.publish(kafka_topic, b"poison")
    kafka_probe.publish(letters, b"something else")
    with pytest.raises(AssertionError, match="no record came"):
        kafka_probe.expect_dead_letter(letters, source=source, timeout=0.1)


def test_names_are_the_tests_own(kafka_probe: Probe, kafka_topic: str) -> None:
    assert "test_names_are_the_tests_own" in kafka_topic
    assert len({kafka_topic, kafka_probe.topic(), kafka_probe.topic("a"), kafka_probe.group()}) == 4


def test_publish_and_collect_take_milliseconds(kafka_probe: Probe, kafka_topic: str) -> None:
    kafka_probe.publish(kafka_topic, "warm")
    kafka_probe.collect(kafka_topic)
    took = []
    for number in range(2, 22):
        began = time.monotonic()
        kafka_probe.publish(kafka_topic, "x")
        kafka_probe.collect(kafka_topic, number)
        took.append(time.monotonic() - began)
    # On a busy machine any one of them may have to wait for its turn.
    assert min(took) < 0.5


def test_arguments_that_are_not_given_by_name_are_told(
    kafka_probe: Any, kafka_async_probe: Any, kafka_topic: str
) -> None:
    for probe in (kafka_probe, kafka_async_probe):
        for method in (probe.expect_one, probe.expect_none):
            with pytest.raises(TypeError, match=r"cannot tell which argument 0.3 is; after topic"):
                method(kafka_topic, 0.3)
        with pytest.raises(TypeError, match=r"no argument 'timeout'; .*: within=.*, where="):
            probe.expect_none(kafka_topic, timeout=0.3)
        with pytest.raises(TypeError, match="after topic, n it takes arguments by name: timeout="):
            probe.collect(kafka_topic, 1, 0.3)


def test_arguments_of_another_kind_are_told(kafka_probe: Any, kafka_topic: str) -> None:
    for method in (kafka_probe.publish, kafka_probe.collect):
        with pytest.raises(TypeError, match="given by its name, a text, and not by None"):
            method(None, 1)
    for headers in ("x", ["x"], [("a", "b", "c")], {1: "x"}, 5):
        with pytest.raises(TypeError, match="headers are a mapping, or a list of pairs"):
            kafka_probe.publish(kafka_topic, "x", headers=headers)
    for number in (-1, "1"):
        with pytest.raises(ValueError, match=f"takes a number of records as n, and not {number!r}"):
            kafka_probe.collect(kafka_topic, number)
    assert kafka_probe.collect(kafka_topic, 0) == []
