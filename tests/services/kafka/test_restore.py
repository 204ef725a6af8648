"""What a test does to a broker is undone behind it, and no later test fails because of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_berth.services.kafka.service import KAFKA

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project
    from pytest_berth.api import Service

HELPERS = """
    import pytest
    from confluent_kafka import Consumer, Producer, TopicPartition
    from confluent_kafka.admin import (
        AclBinding, AclOperation, AclPermissionType, AdminClient, AlterConfigOpType, ConfigEntry,
        ConfigResource, NewPartitions, NewTopic, ResourcePatternType, ResourceType,
        ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion,
    )
    from pytest_berth import wait_for

    @pytest.fixture
    def admin(kafka_bootstrap, kafka_probe):
        return AdminClient({"bootstrap.servers": kafka_bootstrap, "log_level": 0})

    def done(futures):
        for future in futures.values():
            future.result(60)

    def alter(admin, kind, name, **values):
        entries = [
            ConfigEntry(key.replace("_", "."), value, incremental_operation=AlterConfigOpType.SET)
            for key, value in values.items()
        ]
        resource = ConfigResource(kind, name, incremental_configs=entries)
        done(admin.incremental_alter_configs([resource]))

    def configs(admin, kind, name):
        (future,) = admin.describe_configs([ConfigResource(kind, name)]).values()
        return {key: entry.value for key, entry in future.result(60).items()}
"""


@pytest.fixture
def broker(project: Project, require_service: Callable[[Service, str], None]) -> Project:
    """A project with a broker of its own."""
    require_service(KAFKA, "local")
    project.ini(
        "berth_kafka_source = local",
        "berth_kafka_topics = orders",
        "  table",
        "berth_kafka_settings ="
        "  authorizer.class.name = org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "  super.users = User:ANONYMOUS",
    )
    project.write(helpers=HELPERS)
    project.conftest("from helpers import admin")
    return project


def test_what_a_test_does_to_topics_and_to_the_broker_is_undone(broker: Project) -> None:
    broker.write(
        test_it="""
        from helpers import *
        from pytest_berth.services.kafka import broker_state, topics
        from pytest_berth.services.kafka.brokers import Brokers

        BEFORE = {}

        def state(admin):
            topics = admin.list_topics(timeout=60).topics
            users = admin.describe_user_scram_credentials().result(60)
            from confluent_kafka.admin import AclBindingFilter
            any_acl = AclBindingFilter(
                ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY,
                AclPermissionType.ANY,
            )
            return {
                "topics": {
                    name: len(topic.partitions) for name, topic in topics.items()
                    if not name.startswith("__")
                },
                "orders": configs(admin, ResourceType.TOPIC, "orders"),
                "table": configs(admin, ResourceType.TOPIC, "table"),
                "broker": configs(admin, ResourceType.BROKER, "1"),
                "groups": {
                    each.group_id for each in admin.list_consumer_groups().result(60).valid
                },
                "users": sorted(users),
                "acls": sorted(map(str, admin.describe_acls(any_acl).result(60))),
            }

        def test_first(admin):
            BEFORE.update(state(admin))

        def test_topics(admin, kafka_probe):
            done(admin.create_partitions([NewPartitions("orders", 4)]))
            alter(admin, ResourceType.TOPIC, "table", cleanup_policy="compact", retention_ms="7")
            kafka_probe.publish("table", 1, key="k")

        def test_after_topics(admin, kafka_probe):
            assert state(admin) == BEFORE
            for topic in ("orders", "table"):
                kafka_probe.expect_none(topic, within=0.1)
                kafka_probe.publish(topic, 1)
                kafka_probe.expect_one(topic)

        def test_deleting(admin):
            done(admin.delete_topics(["orders"]))

        def test_after_deleting(admin, kafka_probe):
            assert state(admin) == BEFORE
            kafka_probe.publish("orders", 1)
            kafka_probe.expect_one("orders")

        def test_broker(admin, kafka_bootstrap):
            alter(admin, ResourceType.BROKER, "1", message_max_bytes="2000")
            password = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096)
            done(admin.alter_user_scram_credentials(
                [UserScramCredentialUpsertion("alice", password, b"secret")]))
            done(admin.create_acls([AclBinding(ResourceType.TOPIC, "orders",
                ResourcePatternType.LITERAL, "User:bob", "*", AclOperation.READ,
                AclPermissionType.ALLOW)]))

        def test_quotas(kafka_bootstrap, kafka_probe):
            brokers = Brokers(kafka_bootstrap)
            entity = (("user", "bob"),)
            broker_state._put_back_quotas(brokers, {entity: {"producer_byte_rate": 10.0}}, {})
            topics.configure(brokers, {(4, ""): {"num.io.threads": "3"}})
            topics.configure(brokers, {(32, "billing"): {"consumer.session.timeout.ms": "46000"}})
            broker_state.catch_up(brokers)
            BEFORE["quotas"] = broker_state.look(brokers)
            assert BEFORE["quotas"].quotas and (32, "billing") in BEFORE["quotas"].configs

        def test_after_quotas(kafka_bootstrap, kafka_probe):
            found, changed = broker_state.look(Brokers(kafka_bootstrap)), BEFORE.pop("quotas")
            assert not found.quotas
            for resource in [(4, ""), (32, "billing")]:
                assert found.configs.get(resource) != changed.configs[resource]

        def test_names(admin, kafka_bootstrap):
            producer = Producer({"bootstrap.servers": kafka_bootstrap})
            producer.produce("made.by.the.application", b"1")
            assert producer.flush(30) == 0
            consumer = Consumer({"bootstrap.servers": kafka_bootstrap, "group.id": "billing"})
            wait_for(lambda: consumer.commit(
                offsets=[TopicPartition("made.by.the.application", 0, 1)], asynchronous=False), 60)
            consumer.close()

        def test_last(admin, kafka_probe):
            assert state(admin) == BEFORE
            kafka_probe.publish("orders", b"x" * 5000)
        """
    )
    result = broker.run("-p", "no:randomly")
    result.assert_outcomes(passed=10)
    text = result.stdout.str()
    assert text.count("test_topics changed the number of its partitions: the topic orders") == 1


def test_an_open_transaction_is_aborted_and_clients_of_the_session_go_on(broker: Project) -> None:
    broker.plugins = ("asyncio",)
    broker.ini(
        "berth_kafka_source = local",
        "berth_kafka_topics = orders",
        "asyncio_mode = auto",
        "asyncio_default_fixture_loop_scope = session",
        "asyncio_default_test_loop_scope = session",
    )
    broker.write(
        test_it="""
        import aiokafka
        import pytest_asyncio
        from helpers import *
        from kafka import KafkaConsumer, KafkaProducer

        @pytest_asyncio.fixture(scope="session")
        async def aio(kafka_bootstrap):
            producer = aiokafka.AIOKafkaProducer(bootstrap_servers=kafka_bootstrap)
            await producer.start()
            yield producer
            await producer.stop()

        @pytest.fixture(scope="session")
        def rd(kafka_bootstrap):
            return Producer({"bootstrap.servers": kafka_bootstrap, "log_level": 0})

        @pytest.fixture(scope="session")
        def python(kafka_bootstrap):
            producer = KafkaProducer(bootstrap_servers=kafka_bootstrap)
            yield producer
            producer.close(timeout=1)

        @pytest.fixture(scope="session")
        def reading(kafka_bootstrap):
            consumer = Consumer({"bootstrap.servers": kafka_bootstrap, "group.id": "session",
                "auto.offset.reset": "earliest", "log_level": 0})
            consumer.subscribe(["orders"])
            yield consumer
            consumer.close()

        OPEN = []

        def test_open(kafka_bootstrap, kafka_probe):
            producer = Producer({"bootstrap.servers": kafka_bootstrap, "transactional.id": "tx",
                "log_level": 0})
            producer.init_transactions(60)
            producer.begin_transaction()
            producer.produce("orders", b"not committed")
            assert producer.flush(30) == 0
            OPEN.append(producer)

        async def publish_by_all(aio, rd, python):
            await aio.send_and_wait("orders", b"aio")
            rd.produce("orders", b"rd")
            assert rd.flush(60) == 0
            python.send("orders", b"python").get(60)

        async def test_clients(kafka_async_probe, aio, rd, python, reading):
            await publish_by_all(aio, rd, python)
            found = await kafka_async_probe.collect("orders", 3, timeout=30)
            assert {each.value for each in found} == {b"aio", b"rd", b"python"}

        async def test_anew(kafka_async_probe, aio, rd, python, admin):
            done(admin.create_partitions([NewPartitions("orders", 4)]))
            await publish_by_all(aio, rd, python)

        @pytest.mark.parametrize("number", range(2))
        async def test_clients_again(kafka_async_probe, aio, rd, python, reading, number):
            await publish_by_all(aio, rd, python)
            found = await kafka_async_probe.collect("orders", 3, timeout=30)
            assert {each.value for each in found} == {b"aio", b"rd", b"python"}
            await kafka_async_probe.expect_none(
                "orders", within=0.1, where=lambda record: b"not" in record.value)
        """
    )
    result = broker.run("-p", "no:randomly")
    result.assert_outcomes(passed=5)
    assert result.stdout.str().count("left the transaction of 'tx' open") == 1


def test_neither_frozen_nor_travelling_clocks_reach_the_probe(broker: Project) -> None:
    broker.plugins = ("time_machine", "freezegun")
    broker.ini("berth_kafka_source = local", "berth_kafka_topics = orders")
    broker.write(
        test_it="""
        import pytest, time_machine
        from confluent_kafka import Producer
        from freezegun import freeze_time

        def send(bootstrap, topic, value):
            producer = Producer({"bootstrap.servers": bootstrap})
            producer.produce(topic, value)
            assert producer.flush(30) == 0

        @pytest.mark.parametrize("number", range(2))
        @pytest.mark.parametrize("frozen", [
            freeze_time("2024-01-01"), time_machine.travel("2024-01-01", tick=False),
            time_machine.travel("2099-01-01"),
        ])
        @pytest.mark.parametrize("topic", ["orders", "undeclared"])
        def test_it(kafka_probe, frozen, number, topic):
            with frozen:
                with pytest.raises(AssertionError):
                    kafka_probe.expect_one(topic, timeout=0.1)
                kafka_probe.expect_none(topic, within=0.1)
                send(kafka_probe.bootstrap, topic, b"1")
                assert kafka_probe.expect_one(topic).value == b"1"
                kafka_probe.mark(topic)
                kafka_probe.publish(topic, str(number))
                assert kafka_probe.expect_one(topic).text() == str(number)
                with pytest.raises(TimeoutError):
                    kafka_probe.wait_assigned("nobody", timeout=0.1)
        """
    )
    broker.run().assert_outcomes(passed=12)
