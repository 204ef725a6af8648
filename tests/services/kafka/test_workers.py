"""Several workers on one broker: what keeps them apart in topics with fixed names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Project

# Another worker of the outer run may use the same broker.
TOPIC = f"orders-{os.urandom(4).hex()}"
BUSY = """
    import os
    import pytest

    @pytest.mark.parametrize("number", range(8))
    def test_it(kafka_probe, number):
        topic = os.environ.get("TOPIC_PREFIX", "") + TOPIC
        kafka_probe.publish(topic, str(number))
        assert kafka_probe.expect_one(TOPIC).text() == str(number)
""".replace("TOPIC)", f"'{TOPIC}')").replace("+ TOPIC", f"+ '{TOPIC}'")


@pytest.fixture
def busy(on_broker: Project) -> Project:
    """A project whose tests all use one topic, and xdist."""
    on_broker.plugins = ("xdist", "xdist.looponfail")
    on_broker.write(test_busy=BUSY)
    return on_broker


def test_the_exported_prefix_keeps_workers_apart(busy: Project) -> None:
    busy.ini(f"berth_kafka_topics = {TOPIC}", "berth_export = TOPIC_PREFIX = {kafka_prefix}")
    result = busy.run("-n", "2")
    result.assert_outcomes(passed=8)
    result.stdout.no_fnmatch_line("*workers meet*")


def test_an_open_transaction_that_commits_offsets_does_not_hide_what_the_next_test_sends(
    on_broker: Project,
) -> None:
    on_broker.ini(f"berth_kafka_topics = {TOPIC}", "berth_export = TOPIC_PREFIX = {kafka_prefix}")
    on_broker.write(
        test_it=f"""
        import os
        from confluent_kafka import Consumer, Producer, TopicPartition

        LEFT = []

        def test_open(kafka_probe, kafka_bootstrap):
            name, topic = kafka_probe.group(), os.environ["TOPIC_PREFIX"] + {TOPIC!r}
            common = {{"bootstrap.servers": kafka_bootstrap, "log_level": 0}}
            producer = Producer({{**common, "transactional.id": name}})
            producer.init_transactions(60)
            producer.begin_transaction()
            producer.produce(topic, b"not committed")
            assert producer.flush(30) == 0
            consumer = Consumer({{**common, "group.id": name}})
            producer.send_offsets_to_transaction(
                [TopicPartition(topic, 0, 0)], consumer.consumer_group_metadata(), 60
            )
            consumer.close()
            LEFT.append(producer)

        def test_next(kafka_probe):
            kafka_probe.publish({TOPIC!r}, "committed")
            assert kafka_probe.expect_one({TOPIC!r}, timeout=15).text() == "committed"
        """
    )
    result = on_broker.run("-p", "no:randomly")
    result.assert_outcomes(passed=2)
    assert result.stdout.str().count(" open: it was aborted, its producer fenced") == 1


def test_a_fixed_topic_without_a_prefix_is_a_hint_of_the_summary(busy: Project) -> None:
    busy.ini(f"berth_kafka_topics = {TOPIC}", f"berth_kafka_allow_reset = {TOPIC}")
    result = busy.run("-n", "2")
    hints = [line for line in result.outlines if f"workers meet in the topic '{TOPIC}'" in line]
    assert len(hints) == 1
    assert hints[0].startswith("hint: kafka: ")
    assert "{kafka_prefix}" in hints[0]


def test_tests_of_one_xdist_group_are_not_hinted_at(busy: Project) -> None:
    busy.ini(f"berth_kafka_topics = {TOPIC}", f"berth_kafka_allow_reset = {TOPIC}")
    busy.write(test_busy=BUSY.replace("@pytest", '@pytest.mark.xdist_group("one")\n    @pytest'))
    result = busy.run("-n", "2", "--dist", "loadgroup")
    result.stdout.no_fnmatch_line("*workers meet*")


def test_the_bootstrap_servers_are_exported(on_broker: Project, kafka_bootstrap: str) -> None:
    on_broker.ini("berth_export = BROKERS = {kafka_bootstrap}")
    on_broker.write(
        test_it=f"""
        import os

        def test_it(kafka_probe):
            assert os.environ["BROKERS"] == kafka_probe.bootstrap == {kafka_bootstrap!r}
        """
    )
    on_broker.run().assert_outcomes(passed=1)


def test_the_scope_worker_gives_each_worker_a_broker(project: Project) -> None:
    project.plugins = ("xdist", "xdist.looponfail")
    project.write(test_busy=BUSY)
    project.ini(
        "berth_kafka_source = local", "berth_kafka_scope = worker", f"berth_kafka_topics = {TOPIC}"
    )
    result = project.run("-n", "2")
    result.assert_outcomes(passed=8)
    result.stdout.no_fnmatch_line("*workers meet*")


def test_a_test_may_have_a_broker_of_its_own(project: Project) -> None:
    project.ini("berth_kafka_source = local")
    project.write(
        test_it="""
        import pytest

        seen = set()

        @pytest.mark.parametrize("number", range(2))
        @pytest.mark.berth_kafka(scope="test")
        def test_own(kafka_probe, kafka_topic, kafka_server, kafka_bootstrap, number):
            kafka_probe.publish(kafka_topic, "x")
            kafka_probe.expect_one(kafka_topic)
            assert kafka_bootstrap.endswith(f":{kafka_server.port}")
            seen.add(kafka_bootstrap)

        def test_shared(kafka_bootstrap):
            seen.add(kafka_bootstrap)
            assert len(seen) == 3
        """
    )
    project.run().assert_outcomes(passed=3)


def test_a_marker_cannot_change_who_shares_a_broker(on_broker: Project) -> None:
    on_broker.ini()
    on_broker.write(
        test_it="""
        import pytest

        @pytest.mark.berth_kafka(scope="worker")
        def test_it(kafka_probe): pass
        """
    )
    result = on_broker.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*a marker cannot set the scope 'worker'."])
