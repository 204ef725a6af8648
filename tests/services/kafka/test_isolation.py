"""Topics with fixed names: no test sees an earlier one, whatever its application's group did."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from marks import nightly
from pytest_berth.services.kafka.service import KAFKA

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Project

    from pytest_berth.api import Service

# What an application does with each client: read n records as a group of a fixed name, and commit.
# kafka-python joins while it is polled, and may never get there with pauses in between.
KAFKA_PYTHON = """
    from kafka import KafkaConsumer
    from pytest_berth import wait_for

    def consume(bootstrap, topic, n, reset="earliest", publish=None, probe=None):
        consumer = KafkaConsumer(topic, bootstrap_servers=bootstrap, group_id="billing-kp",
            auto_offset_reset=reset, enable_auto_commit=False)
        found = []
        def enough():
            for batch in consumer.poll(100, max_records=1).values():
                found.extend(message.value.decode() for message in batch)
            return len(found) >= n
        if publish:
            wait_for(lambda: consumer.poll(100) or consumer.assignment(), 20, interval=0)
            for part in consumer.assignment():
                consumer.position(part)
            publish()
        wait_for(enough, 20, interval=0)
        consumer.commit()
        consumer.close()
        return found
"""
CONFLUENT = """
    from confluent_kafka import Consumer
    from pytest_berth import wait_for

    def consume(bootstrap, topic, n, reset="earliest", publish=None, probe=None):
        consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "billing-ck",
            "auto.offset.reset": reset, "enable.auto.commit": False})
        consumer.subscribe([topic])
        found = []
        def enough():
            message = consumer.poll(0.1)
            if message and not message.error():
                found.append(message)
            return len(found) >= n
        wait_for(enough, 20)
        consumer.commit(found[-1], asynchronous=False)
        consumer.close()
        return [message.value().decode() for message in found]
"""
AIOKAFKA = """
    import asyncio
    from aiokafka import AIOKafkaConsumer

    def consume(bootstrap, topic, n, reset="earliest", publish=None, probe=None):
        async def run():
            consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, group_id="billing-ai",
                auto_offset_reset=reset, enable_auto_commit=False)
            await consumer.start()
            try:
                if publish:
                    for part in consumer.assignment():
                        await consumer.position(part)
                    publish()
                found = []
                for _ in range(n):
                    message = await asyncio.wait_for(consumer.getone(), 20)
                    found.append(message.value.decode())
                await consumer.commit()
                return found
            finally:
                await consumer.stop()
        return asyncio.run(run())
"""
CLIENTS = {"kafka-python": KAFKA_PYTHON, "confluent-kafka": CONFLUENT, "aiokafka": AIOKAFKA}
# On a busy machine kafka-python 3.0 sometimes does not finish joining a group; others always do.
FLAKY = pytest.mark.flaky(reruns=3)
SOMETIMES = pytest.param("kafka-python", marks=FLAKY)
SOMETIMES_AT_NIGHT = pytest.param("kafka-python", marks=[FLAKY, pytest.mark.nightly])


@pytest.fixture(params=[SOMETIMES, "confluent-kafka", "aiokafka"])
def shop(request: pytest.FixtureRequest, on_broker: Project) -> Project:
    """A project with an application, whose topics all may be emptied."""
    # Another worker of the outer run may use the same broker.
    topic = f"orders-{request.param}-{os.urandom(4).hex()}"
    on_broker.ini(
        f"berth_kafka_topics = {topic}",
        f"berth_kafka_allow_reset = {topic}",
        "filterwarnings = ignore::DeprecationWarning",
    )
    on_broker.write(application=CLIENTS[request.param].replace("billing", f"billing-{topic}"))
    on_broker.conftest(
        f"""
        import pytest

        @pytest.fixture
        def orders():
            return "{topic}"
        """
    )
    return on_broker


@pytest.mark.parametrize(
    "shop", [SOMETIMES, *nightly("confluent-kafka", "aiokafka")], indirect=True
)
def test_a_group_that_has_read_a_part_sees_nothing_of_it_in_the_next_test(shop: Project) -> None:
    shop.write(
        test_orders="""
        from application import consume

        def test_first(kafka_probe, kafka_bootstrap, orders):
            for number in range(5):
                kafka_probe.publish(orders, f"old {number}")
            assert len(consume(kafka_bootstrap, orders, 3)) >= 3

        def test_second(kafka_probe, kafka_bootstrap, orders):
            kafka_probe.expect_none(orders, within=0.1)
            kafka_probe.publish(orders, "new")
            assert consume(kafka_bootstrap, orders, 1) == ["new"]
            assert kafka_probe.expect_one(orders).text() == "new"

        def test_third(kafka_probe, kafka_bootstrap, orders):
            kafka_probe.publish(orders, "newer")
            assert consume(kafka_bootstrap, orders, 1) == ["newer"]
        """
    )
    shop.run("-p", "no:randomly").assert_outcomes(passed=3)


@pytest.mark.parametrize(
    "shop", ["confluent-kafka", *nightly("aiokafka"), SOMETIMES_AT_NIGHT], indirect=True
)
def test_a_group_that_has_committed_nothing_sees_nothing_of_an_earlier_test(shop: Project) -> None:
    shop.write(
        test_orders="""
        from application import consume

        def test_first(kafka_probe, orders):
            kafka_probe.publish(orders, "old")

        def test_second(kafka_probe, kafka_bootstrap, orders):
            kafka_probe.publish(orders, "new")
            assert consume(kafka_bootstrap, orders, 1) == ["new"]
        """
    )
    shop.run().assert_outcomes(passed=2)


# kafka-python 3.0 sometimes gets no partitions when it joins a group just after a topic was made.
@pytest.mark.parametrize("shop", ["aiokafka", *nightly("confluent-kafka")], indirect=True)
def test_a_topic_made_anew_does_not_hide_records_behind_a_committed_offset(shop: Project) -> None:
    shop.write(
        test_orders="""
        from application import consume

        def test_first(kafka_probe, kafka_bootstrap, kafka_admin, orders):
            for number in range(5):
                kafka_probe.publish(orders, f"old {number}")
            consume(kafka_bootstrap, orders, 5)
            kafka_admin.delete_topics([orders])

        def test_second(kafka_probe, kafka_bootstrap, orders):
            for number in range(7):
                kafka_probe.publish(orders, f"new {number}")
            assert kafka_probe.collect(orders, 7)[0].text() == "new 0"
            found = consume(kafka_bootstrap, orders, 7)
            assert found == [f"new {number}" for number in range(7)]
        """
    )
    shop.run("-p", "no:randomly").assert_outcomes(passed=2)


# confluent-kafka does not tell when it has found the end of a topic.
@pytest.mark.parametrize("shop", ["aiokafka", SOMETIMES_AT_NIGHT], indirect=True)
def test_a_group_that_begins_at_the_end_misses_nothing_once_it_is_assigned(shop: Project) -> None:
    shop.write(
        test_orders="""
        import pytest
        from application import consume

        @pytest.mark.parametrize("number", range(3))
        def test_it(kafka_probe, kafka_bootstrap, orders, number):
            def publish():
                kafka_probe.publish(orders, f"new {number}")
            kafka_probe.publish(orders, "before the consumer")
            found = consume(kafka_bootstrap, orders, 1, "latest", publish, kafka_probe)
            assert found == [f"new {number}"]
        """
    )
    shop.run().assert_outcomes(passed=3)


def test_a_consumer_of_a_wider_scope_finds_the_topics_of_the_run(on_broker: Project) -> None:
    topic = f"early-{os.urandom(4).hex()}"
    on_broker.ini(f"berth_kafka_topics = {topic}", f"berth_kafka_allow_reset = {topic}")
    on_broker.write(
        test_early=f"""
        import pytest
        from confluent_kafka.admin import AdminClient

        @pytest.fixture(scope="session")
        def topics(kafka_bootstrap):
            return AdminClient({{"bootstrap.servers": kafka_bootstrap}}).list_topics().topics

        def test_it(topics, kafka_probe):
            assert "{topic}" in topics
        """
    )
    on_broker.run().assert_outcomes(passed=1)


def test_the_marker_names_topics_of_one_test(on_broker: Project) -> None:
    on_broker.ini("berth_kafka_allow_reset = marked")
    on_broker.write(
        test_marked="""
        import pytest

        @pytest.mark.berth_kafka(topics=["marked"])
        @pytest.mark.parametrize("number", range(2))
        def test_it(kafka_probe, number):
            kafka_probe.expect_none("marked", within=0.1)
            kafka_probe.publish("marked", str(number))
            kafka_probe.expect_one("marked")
        """
    )
    result = on_broker.run("-vv")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines("*test_it*PASSED (kafka emptied: marked; other topics*)*")


def test_an_undeclared_topic_is_read_from_the_tests_start(on_broker: Project) -> None:
    on_broker.ini()
    on_broker.write(
        test_undeclared="""
        import pytest

        @pytest.mark.parametrize("number", range(2))
        def test_it(kafka_probe, number):
            kafka_probe.publish("undeclared", str(number))
            assert kafka_probe.expect_one("undeclared").text() == str(number)
        """
    )
    on_broker.run().assert_outcomes(passed=2)


def test_foreign_topics_are_not_emptied(on_broker: Project, kafka_probe: Any) -> None:
    foreign = kafka_probe.topic("foreign")
    kafka_probe.publish(foreign, "precious")
    on_broker.ini(f"berth_kafka_topics = {foreign}")
    on_broker.write(test_it="def test_it(kafka_probe): pass")
    result = on_broker.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            f"refused to delete records of the topic '{foreign}': the broker is not berth's.",
            "*why: berth_kafka_url is set, and topics of this run begin with 'berth-*-'",
            f"*do:  berth_kafka_allow_reset = {foreign}*",
        ]
    )
    assert kafka_probe.expect_one(foreign).text() == "precious"


# On a busy machine kafka-python 3.0 sometimes does not finish joining a group.
@pytest.mark.flaky(reruns=3)
def test_topics_and_groups_of_a_run_are_gone_after_it(
    on_broker: Project, kafka_admin: Any, kafka_topic: str
) -> None:
    on_broker.ini()
    on_broker.write(
        test_it="""
        from pytest_berth import wait_for

        def test_it(kafka_probe, kafka_topic, kafka_consumer):
            kafka_probe.publish(kafka_topic, "x")
            kafka_consumer.subscribe([kafka_topic])
            wait_for(lambda: kafka_consumer.poll(100), 30, interval=0)
            kafka_consumer.commit()
            print("run:", kafka_topic.split("-")[1])
        """
    )
    result = on_broker.run("-s")
    result.assert_outcomes(passed=1)
    run = next(line for line in result.outlines if "run:" in line).split("run: ")[1].strip(".")
    left = [*kafka_admin.list_topics(), *(g["group_id"] for g in kafka_admin.list_groups())]
    assert not [name for name in left if run in name]
    assert kafka_topic in left


def test_a_group_goes_with_the_consumer_that_has_outlived_its_test(on_broker: Project) -> None:
    on_broker.write(
        test_it="""
            from confluent_kafka import Consumer
            from confluent_kafka.admin import AdminClient
            from pytest_berth import wait_for

            consumers = {}

            def groups(bootstrap):
                client = AdminClient({"bootstrap.servers": bootstrap})
                there = {each.group_id for each in client.list_consumer_groups().result().valid}
                return there & consumers.keys()

            def test_leaves_two(kafka_bootstrap, kafka_probe, kafka_topic):
                kafka_probe.publish(kafka_topic, b"a")
                for name in map(kafka_probe.group, ("first", "second")):
                    consumers[name] = consumer = Consumer({
                        "bootstrap.servers": kafka_bootstrap, "group.id": name,
                        "auto.offset.reset": "earliest", "enable.auto.commit": False,
                    })
                    consumer.subscribe([kafka_topic])
                    message = wait_for(lambda: consumer.poll(0.1), 20)
                    consumer.commit(message, asynchronous=False)

            def test_closes_one(kafka_bootstrap, kafka_probe):
                assert len(groups(kafka_bootstrap)) == 2
                consumers[min(consumers)].close()

            def test_sees_the_other(kafka_bootstrap, kafka_probe):
                assert groups(kafka_bootstrap) == {max(consumers)}

            def test_closes_it_where_nothing_is_isolated(kafka_bootstrap):
                consumers[max(consumers)].close()

            def test_sees_none(kafka_bootstrap, kafka_probe):
                assert not groups(kafka_bootstrap)
        """
    )
    on_broker.run().assert_outcomes(passed=5)


def test_wrong_names_of_topics_are_told_before_the_first_test(on_broker: Project) -> None:
    on_broker.ini()
    on_broker.write(
        test_it="""
        import pytest

        @pytest.mark.berth_kafka(topics=["order created"])
        def test_it(kafka_probe): pass
        """
    )
    result = on_broker.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*a topic has a name that Kafka does not allow.",
            "*why: @pytest.mark.berth_kafka(topics=...) at test_it.py::test_it",
            "*do:  use letters, digits, dots, - and _ for a topic, not 'order created'",
        ]
    )


def test_a_test_s_own_topic_hides_nothing_else_and_connections_stay_open(
    project: Project, require_service: Callable[[Service, str], None]
) -> None:
    require_service(KAFKA, "local")
    project.ini("berth_kafka_source = local")
    project.write(
        test_topics="""
        import os
        import socket

        from kafka.admin import NewTopic

        OPEN = []

        def sockets(isolated):
            return [each._socket for each in isolated.clients.brokers._open.values()]

        def test_makes_its_own_and_another(kafka_probe, kafka_admin, _kafka_isolation):
            OPEN.extend(sockets(_kafka_isolation))
            assert OPEN
            kafka_probe.publish(kafka_probe.topic(), "a")
            kafka_admin.create_topics([NewTopic("stray", 1, 1)])

        def test_has_none_of_them(kafka_probe, kafka_admin, _kafka_isolation):
            assert sockets(_kafka_isolation) == OPEN
            assert "stray" not in kafka_admin.list_topics()
            own = kafka_probe.topic(partitions=3)
            kafka_probe.publish(own, "b")
            assert kafka_probe.expect_one(own).value == b"b"
            kafka_admin.delete_topics([own])
            kafka_admin.create_topics([NewTopic("second", 1, 1)])

        def test_of_which_one_is_read(kafka_probe, kafka_admin):
            assert "second" not in kafka_admin.list_topics()
            own = kafka_probe.topic()
            kafka_probe.publish(own, "c")
            kafka_probe.publish(own, "d")
            assert [each.value for each in kafka_probe.collect(own, 2)] == [b"c", b"d"]
            OPEN[:] = [own]

        def test_what_an_earlier_test_published_is_not_seen(kafka_probe):
            kafka_probe.expect_none(OPEN[0], within=0.1)
            kafka_probe.publish(OPEN[0], "e")
            assert kafka_probe.expect_one(OPEN[0]).value == b"e"

        def test_breaks_the_connections(_kafka_isolation):
            for each in sockets(_kafka_isolation):
                each.shutdown(socket.SHUT_RDWR)

        def test_connects_anew(kafka_probe, kafka_topic, _kafka_isolation):
            kafka_probe.publish(kafka_topic, "f")
            assert kafka_probe.expect_one(kafka_topic).value == b"f"
            if hasattr(os, "fork"):
                before, child = sockets(_kafka_isolation), os.fork()
                if not child:
                    _kafka_isolation.clients.brokers.settle()
                    os._exit(len(sockets(_kafka_isolation)))
                assert os.waitpid(child, 0)[1] == 0
                assert sockets(_kafka_isolation) == before
            kafka_probe.publish(kafka_topic, "g")
        """
    )
    project.run().assert_outcomes(passed=6)


def test_what_fixtures_do_between_tests_is_known_to_the_next_and_a_test_asks_little(
    project: Project, require_service: Callable[[Service, str], None]
) -> None:
    require_service(KAFKA, "local")
    project.ini("berth_kafka_source = local")
    project.conftest(
        """
        from pytest_berth.services.kafka.connection import Connection

        ASKED = []

        def counted(original):
            def ask(connection, *requests, **options):
                ASKED.append([type(each).__name__ for each in requests])
                return original(connection, *requests, **options)
            return ask

        Connection.ask = counted(Connection.ask)
        """
    )
    project.write(
        test_between="""
        import pytest
        from conftest import ASKED
        from kafka import KafkaProducer
        from kafka.admin import KafkaAdminClient, NewTopic

        def send(bootstrap, value):
            producer = KafkaProducer(bootstrap_servers=bootstrap)
            producer.send("stray", value).get(20)
            producer.close()

        @pytest.mark.parametrize("number", range(4))
        def test_publishes(kafka_probe, kafka_topic, number):
            ASKED.append(number)
            kafka_probe.publish(kafka_topic, number)
            assert kafka_probe.expect_one(kafka_topic).json() == number

        def test_asks_little():
            one = ASKED[ASKED.index(2) : ASKED.index(3)]  # with the beginning of the next
            assert len(one) <= 6, one

        @pytest.fixture(scope="class")
        def topic(kafka_bootstrap):
            admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
            admin.create_topics([NewTopic("stray", 2, 1)])
            send(kafka_bootstrap, b"a")
            yield admin
            admin.delete_topics(["stray"])
            admin.close()

        @pytest.fixture(scope="class")
        def record(kafka_bootstrap):
            send(kafka_bootstrap, b"c")

        class TestFixtures:
            def test_topic_that_has_come(self, topic, kafka_probe):
                kafka_probe.expect_none("stray", within=0.1)
                kafka_probe.publish("stray", "b")
                assert kafka_probe.expect_one("stray").value == b"b"

            def test_record_that_has_come(self, topic, record, kafka_probe):
                kafka_probe.expect_none("stray", within=0.1)
                topic.create_partitions({"stray": 3})
                kafka_probe.publish("stray", "d", partition=2)
                assert kafka_probe.expect_one("stray").partition == 2

            def test_partition_stays(self, topic, kafka_probe):
                kafka_probe.expect_none("stray", within=0.1)
                kafka_probe.publish("stray", "e", partition=2)
                assert kafka_probe.expect_one("stray").value == b"e"

        def test_topic_is_gone(kafka_probe, kafka_admin):
            assert "stray" not in kafka_admin.list_topics()
        """
    )
    project.run("-p", "no:randomly").assert_outcomes(passed=9)


def test_topics_of_coming_tests_are_made_once_and_stay_those_of_their_tests(
    project: Project, require_service: Callable[[Service, str], None]
) -> None:
    require_service(KAFKA, "local")
    project.ini("berth_kafka_source = local")
    project.write(
        test_it="""
        import pytest
        from kafka.admin import KafkaAdminClient

        @pytest.fixture
        def no_topics(kafka_admin):
            kafka_admin.delete_topics(
                [name for name in kafka_admin.list_topics() if "-test_" in name]
            )

        def test_as_usual(kafka_topic, kafka_admin):
            assert kafka_topic in kafka_admin.list_topics()

        TIMES = []

        @pytest.mark.flaky(reruns=1)
        def test_again(kafka_topic, kafka_admin):
            TIMES.append(kafka_topic)
            assert TIMES[1:]
            made = [name.split("-", 4)[4] for name in kafka_admin.list_topics()]
            assert made.count("test_cleaned-0") == 1, made

        @pytest.mark.parametrize("number", range(2))
        def test_cleaned(no_topics, kafka_topic, kafka_admin, number):
            assert kafka_topic in kafka_admin.list_topics()

        def test_sends(kafka_topic, kafka_producer):
            for _ in range(50):
                kafka_producer.send("stray", bytes(1000))

        def test_nothing_arrives_late(kafka_admin):
            assert "stray" not in kafka_admin.list_topics()

        SERVERS = []

        class TestOldStyle:
            def setup_method(self):
                if SERVERS:
                    admin = KafkaAdminClient(bootstrap_servers=SERVERS[0])
                    no_topics.__wrapped__(admin)
                    admin.close()

            @pytest.mark.parametrize("number", range(4))
            def test_of_a_class(self, kafka_topic, kafka_admin, kafka_bootstrap, number):
                assert kafka_topic in kafka_admin.list_topics()
                SERVERS[:] = [kafka_bootstrap] * (number in {0, 2})
        """
    )
    project.plugins = ("rerunfailures",)
    result = project.run("-p", "no:randomly")
    assert result.parseoutcomes() == {"passed": 10, "rerun": 1}


def test_topics_made_ahead_are_as_new_or_not_given(
    project: Project, require_service: Callable[[Service, str], None]
) -> None:
    require_service(KAFKA, "local")
    project.ini("berth_kafka_source = local")
    project.conftest(
        """
        from pytest_berth.services.kafka.connection import Connection

        CREATIONS = []

        def counted(original):
            def ask(connection, *requests, **options):
                CREATIONS.extend(len(each.topics) for each in requests
                                 if type(each).__name__ == "CreateTopicsRequest")
                return original(connection, *requests, **options)
            return ask

        Connection.ask = counted(Connection.ask)
        """
    )
    project.write(
        test_topics="""
        import pytest
        from conftest import CREATIONS
        from kafka.admin import ConfigResource, ConfigResourceType
        from pytest_berth.services.kafka import topics

        @pytest.fixture(autouse=True)
        def topic_is_new(request, kafka_probe, kafka_topic, _kafka_isolation):
            assert request.node.name in kafka_topic
            brokers = _kafka_isolation.clients.brokers
            assert topics.own_configs(brokers, [kafka_topic]) == {kafka_topic: {}}
            first = kafka_probe.publish(kafka_topic, "first", key=request.node.name)
            assert (first.partition, first.offset) == (0, 0)
            assert kafka_probe.expect_one(kafka_topic).value == b"first"
            assert kafka_probe.topic("other") != kafka_topic

        def ahead(admin, test):
            (found,) = [name for name in admin.list_topics() if name.endswith(f"-{test}")]
            return found

        def test_one(): pass
        def test_two(): pass
        def test_three(): pass
        def test_four(kafka_probe, kafka_admin):
            kafka_probe.publish(ahead(kafka_admin, "test_five"), "of another test")
            assert 0
        def test_five(): pass
        def test_six(kafka_admin, kafka_probe):
            topic = ahead(kafka_admin, "test_seven")
            resource = ConfigResource(ConfigResourceType.TOPIC, topic, {"retention.ms": "1"})
            kafka_admin.alter_configs([resource])
            assert 0
        def test_seven(): pass
        def test_eight(kafka_admin):
            kafka_admin.delete_topics([ahead(kafka_admin, "test_nine")])
        def test_nine(): pass

        def test_how_many_were_made_at_once():
            assert [each for each in CREATIONS if each > 1] == [2, 4, 2]
        """
    )
    result = project.run("-p", "no:randomly", "-vv")
    result.assert_outcomes(passed=8, failed=2)
    result.stdout.fnmatch_lines(
        [
            "+ topic berth-*-test_six, 1 partition",
            "topic berth-*-test_six: partition 0 got offset 0",
            "*kcat * -t berth-*-test_six*",
        ]
    )
    for test in ("five", "seven"):
        result.stdout.no_fnmatch_line(f"* topic berth-*-test_{test},*")
