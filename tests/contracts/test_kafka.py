"""What a Kafka broker is like, wherever it comes from."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from marks import nightly
from pytest_berth.services.kafka import wire_protocol
from pytest_berth.services.kafka.service import KAFKA
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import Berthed, Stage

    from pytest_berth.api import Service

GONE = """
import os, signal, sys, threading, time
from pytest_berth.services.kafka import topics
from pytest_berth.services.kafka.clients import Clients

clients = Clients(sys.argv[1])
clients.admin.create_topics(["topic"], wait_for_metadata=True)
clients.producer.send("topic", b"value").get(10)
with clients.consumer(group_id="group") as consumer:
    consumer.subscribe(["topic"])
    while not consumer.poll(100):
        pass
    assert list(topics.find(clients.brokers)) == ["topic"]
    os.kill(int(sys.argv[2]), signal.SIGKILL)
    clients.producer.send("topic", b"lost")
    began = time.monotonic()
clients.close()
print(time.monotonic() - began, threading.active_count())
"""


@pytest.fixture
def stage(stage_of: Callable[[Service], Stage]) -> Stage:
    """Make runs whose brokers are gone when the test ends."""
    return stage_of(KAFKA)


@pytest.fixture(scope="module")
def berthed_by_source(
    servers_of: Callable[[Service], Callable[[str], Berthed]],
) -> Callable[[str], Berthed]:
    """Return a function that gives one broker of a source, the same one to every test."""
    return servers_of(KAFKA)


# That a broker which is given by URL serves, the conformance suite shows, too.
@pytest.fixture(params=["container", "local", *nightly("external")])
def berthed(request: pytest.FixtureRequest, berthed_by_source: Callable[[str], Berthed]) -> Berthed:
    """Give a broker of each source in turn; tests leave it as it is."""
    return berthed_by_source(request.param)


def test_a_record_comes_back(berthed: Berthed) -> None:
    from pytest_berth.services.kafka.clients import Clients
    from pytest_berth.services.kafka.topic_reader import Reader

    topic = f"contract-{os.urandom(4).hex()}"
    with closing(Clients(berthed.url)) as clients:
        clients.admin.create_topics([topic], wait_for_metadata=True)
        clients.producer.send(topic, b"value", key=b"key").get(10)
        reader = Reader(clients.brokers)
        (record,) = reader.read_to(topic, {0: 0}, reader.ends(topic), 10)
        clients.admin.delete_topics([topic])
    assert (record.key, record.value) == (b"key", b"value")


def test_clients_are_told_the_address_that_they_came_by(berthed: Berthed) -> None:
    cluster = wire_protocol.ask(berthed.server.host, berthed.server.port)
    assert cluster.brokers == ((berthed.server.host, berthed.server.port),)


def test_the_cluster_is_the_one_that_was_planned(started: Berthed) -> None:
    cluster = wire_protocol.ask(started.server.host, started.server.port)
    assert cluster.id == started.server.credentials.database


def test_one_line_tells_what_runs_where_and_why(berthed: Berthed) -> None:
    (line,) = [line for line in berthed.notes if line.startswith("kafka 4.1")]
    server = berthed.server
    for part in (server.source, server.detail, f"{server.host}:{server.port}", server.reason):
        assert part
        assert part in line


def test_settings_fit_for_tests_are_in_force(started: Berthed) -> None:
    found = _settings(started)
    assert found["group.initial.rebalance.delay.ms"] == "0"
    assert found["offsets.topic.num.partitions"] == "1"
    assert found["transaction.state.log.replication.factor"] == "1"


def test_settings_of_the_user_are_in_force_and_go_first(starting: str, stage: Stage) -> None:
    lines = ["num.partitions = 3", "group.initial.rebalance.delay.ms=7", "# a comment"]
    found = _settings(stage.start(starting, berth_kafka_settings=lines))
    assert found["num.partitions"] == "3"
    assert found["group.initial.rebalance.delay.ms"] == "7"
    assert found["offsets.topic.num.partitions"] == "1"


def test_only_loopback_addresses_listen(started: Berthed) -> None:
    listening = {
        entry.laddr.ip.removeprefix("::ffff:")
        for entry in psutil.net_connections("tcp")
        if entry.status == psutil.CONN_LISTEN and entry.laddr.port == started.server.port
    }
    assert listening == {"127.0.0.1"}


def test_the_log_can_be_read_since_a_mark(started: Berthed) -> None:
    mark = started.source.log_position(started.server)
    name = f"logged-{os.urandom(4).hex()}"
    from pytest_berth.services.kafka.clients import Clients

    with closing(Clients(started.url)) as clients:
        clients.admin.create_topics([name])
    wait_for(lambda: name in started.source.log(started.server, mark), 60)
    assert "Kafka Server started" not in started.source.log(started.server, mark)
    assert "started" in started.source.log(started.server, 0)


# On a busy machine kafka-python 3.0 sometimes does not finish joining a group.
@pytest.mark.flaky(reruns=3)
def test_clients_close_within_seconds_where_the_broker_is_gone(stage: Stage) -> None:
    broker = stage.start("local")
    # In a process of its own: kafka-python forgets the sockets of connections that failed.
    command = [sys.executable, "-c", GONE, broker.url, str(broker.server.handle["pid"])]
    took, threads = subprocess.check_output(command, text=True, timeout=60).split()
    # Each of its clients would wait for the broker for 30 s or more.
    assert float(took) < 20
    assert threads == "1"


def test_a_stopped_local_broker_leaves_neither_process_nor_directory(stage: Stage) -> None:
    broker = stage.start("local")
    handle = broker.server.handle
    process = psutil.Process(handle["pid"])
    stage.end()
    assert not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    assert not Path(handle["directory"]).exists()


def _settings(broker: Berthed) -> dict[str, str]:
    # Afterwards, as kafka-python's own import warns, and warnings are errors.
    from kafka.admin import ConfigResource, ConfigResourceType

    from pytest_berth.services.kafka.clients import Clients

    resource = ConfigResource(ConfigResourceType.BROKER, "1")
    with closing(Clients(broker.url)) as clients:
        found = clients.admin.describe_configs([resource], config_filter="all")
    return {name: entry["value"] for name, entry in found["broker"]["1"].items()}
