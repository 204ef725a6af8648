"""What a Kafka broker is like, wherever it comes from."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from pytest_berth.lifecycle.manager import Manager
from pytest_berth.lifecycle.run import MAIN, Run
from pytest_berth.services.kafka import urls, wire
from pytest_berth.services.kafka.service import KAFKA
from pytest_berth.settings import OPTIONS, Setting, Settings
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_berth.service import Server, Source


SOURCES = ("container", "local", "external")
STARTED = ("container", "local")


GONE = """
import os, signal, sys, threading, time
from pytest_berth.services.kafka.clients import Clients

clients = Clients(sys.argv[1])
clients.admin.create_topics(["topic"], wait_for_metadata=True)
clients.producer.send("topic", b"value").get(10)
with clients.consumer(group_id="group") as consumer:
    consumer.subscribe(["topic"])
    while not consumer.poll(100):
        pass
    assert clients.reader.partitions_for_topic("topic") == {0}
    os.kill(int(sys.argv[2]), signal.SIGKILL)
    clients.producer.send("topic", b"lost")
    began = time.monotonic()
clients.close()
print(time.monotonic() - began, threading.active_count())
"""


@dataclass
class Notes:
    """Progress that is kept, to be looked at."""

    lines: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        """Keep a line."""
        self.lines.append(text)

    def update(self, label: str, done: int, total: int | None) -> None:
        """Forget a download's progress."""


@dataclass(frozen=True)
class Broker:
    """A broker that answers, and the run that it belongs to."""

    manager: Manager
    server: Server
    source: Source

    @property
    def bootstrap(self) -> str:
        """Its bootstrap servers."""
        return urls.bootstrap(self.server)


@dataclass
class Quay:
    """Makes runs with a broker, and ends them all."""

    root: Path
    managers: list[Manager] = field(default_factory=list)

    def start(self, source: str, **given: Any) -> Broker:
        """Start a broker as the first test of a run does."""
        given["berth_source"] = source
        values = {
            option.name: Setting(option.parse(given[option.name]), "pytest.ini")
            if option.name in given
            else Setting(option.default, "default")
            for option in (*OPTIONS, *KAFKA.options)
        }
        manager = Manager(
            Run(os.urandom(4).hex(), MAIN), Settings(self.root, values), [KAFKA], Notes()
        )
        self.managers.append(manager)
        server = manager.server(KAFKA)
        return Broker(manager, server, manager.source(server))

    def end(self) -> None:
        """End every run."""
        while self.managers:
            self.managers.pop().stop()


@pytest.fixture
def quay(tmp_path: Path) -> Iterator[Quay]:
    """Make runs whose brokers are gone when the test ends."""
    made = Quay(tmp_path)
    yield made
    made.end()


@pytest.fixture(scope="module")
def broker_by_source(
    tmp_path_factory: pytest.TempPathFactory, require_source: Callable[[str], None]
) -> Iterator[Callable[[str], Broker]]:
    """Return a function that gives one broker of a source, the same one to every test."""
    made = Quay(tmp_path_factory.mktemp("kafka"))
    brokers: dict[str, Broker] = {}

    def give(source: str) -> Broker:
        require_source(source)
        if source not in brokers:
            given = {"berth_kafka_url": give("local").bootstrap} if source == "external" else {}
            brokers[source] = made.start(source, **given)
        return brokers[source]

    yield give
    made.end()


@pytest.fixture(params=SOURCES)
def broker(request: pytest.FixtureRequest, broker_by_source: Callable[[str], Broker]) -> Broker:
    """Give a broker of each source in turn; tests leave it as it is."""
    return broker_by_source(request.param)


@pytest.fixture(params=STARTED)
def started(request: pytest.FixtureRequest, broker_by_source: Callable[[str], Broker]) -> Broker:
    """Give a broker of each source that starts brokers; tests leave it as it is."""
    return broker_by_source(request.param)


def test_a_record_comes_back(broker: Broker) -> None:
    from pytest_berth.services.kafka.clients import Clients
    from pytest_berth.services.kafka.reading import Reader

    topic = f"contract-{os.urandom(4).hex()}"
    with closing(Clients(broker.bootstrap)) as clients:
        clients.admin.create_topics([topic], wait_for_metadata=True)
        clients.producer.send(topic, b"value", key=b"key").get(10)
        reader = Reader(clients.reader)
        (record,) = reader.read_to(topic, {0: 0}, reader.ends(topic), 10)
        clients.admin.delete_topics([topic])
    assert (record.key, record.value) == (b"key", b"value")


def test_clients_are_told_the_address_that_they_came_by(broker: Broker) -> None:
    cluster = wire.ask(broker.server.host, broker.server.port)
    assert cluster.brokers == ((broker.server.host, broker.server.port),)


def test_the_cluster_is_the_one_that_was_planned(started: Broker) -> None:
    cluster = wire.ask(started.server.host, started.server.port)
    assert cluster.id == started.server.credentials.database


def test_one_line_tells_what_runs_where_and_why(broker: Broker) -> None:
    notes = broker.manager.progress
    assert isinstance(notes, Notes)
    (line,) = [line for line in notes.lines if line.startswith("kafka 4.1")]
    server = broker.server
    for part in (server.source, server.detail, f"{server.host}:{server.port}", server.reason):
        assert part
        assert part in line


def test_settings_fit_for_tests_are_in_force(started: Broker) -> None:
    found = _settings(started)
    assert found["group.initial.rebalance.delay.ms"] == "0"
    assert found["offsets.topic.num.partitions"] == "1"
    assert found["transaction.state.log.replication.factor"] == "1"


@pytest.mark.parametrize("source", STARTED)
def test_settings_of_the_user_are_in_force_and_go_first(
    source: str, quay: Quay, require_source: Callable[[str], None]
) -> None:
    require_source(source)
    lines = ["num.partitions = 3", "group.initial.rebalance.delay.ms=7", "# a comment"]
    found = _settings(quay.start(source, berth_kafka_settings=lines))
    assert found["num.partitions"] == "3"
    assert found["group.initial.rebalance.delay.ms"] == "7"
    assert found["offsets.topic.num.partitions"] == "1"


def test_only_loopback_addresses_listen(started: Broker) -> None:
    listening = {
        entry.laddr.ip.removeprefix("::ffff:")
        for entry in psutil.net_connections("tcp")
        if entry.status == psutil.CONN_LISTEN and entry.laddr.port == started.server.port
    }
    assert listening == {"127.0.0.1"}


def test_the_log_can_be_read_since_a_mark(started: Broker) -> None:
    mark = started.source.mark(started.server)
    name = f"logged-{os.urandom(4).hex()}"
    from pytest_berth.services.kafka.clients import Clients

    with closing(Clients(started.bootstrap)) as clients:
        clients.admin.create_topics([name])
    wait_for(lambda: name in started.source.log(started.server, mark), 10)
    assert "Kafka Server started" not in started.source.log(started.server, mark)
    assert "started" in started.source.log(started.server, 0)


def test_clients_close_within_seconds_where_the_broker_is_gone(quay: Quay) -> None:
    broker = quay.start("local")
    # In a process of its own: kafka-python forgets the sockets of connections that failed.
    command = [sys.executable, "-c", GONE, broker.bootstrap, str(broker.server.handle["pid"])]
    took, threads = subprocess.check_output(command, text=True, timeout=60).split()
    assert float(took) < 5
    assert threads == "1"


def test_a_stopped_local_broker_leaves_neither_process_nor_directory(quay: Quay) -> None:
    broker = quay.start("local")
    handle = broker.server.handle
    assert psutil.pid_exists(handle["pid"])
    began = time.monotonic()
    quay.end()
    assert time.monotonic() - began < 2
    assert not psutil.pid_exists(handle["pid"])
    assert not Path(handle["directory"]).exists()


def _settings(broker: Broker) -> dict[str, str]:
    from kafka.admin import ConfigResource, ConfigResourceType

    from pytest_berth.services.kafka.clients import Clients

    resource = ConfigResource(ConfigResourceType.BROKER, "1")
    with closing(Clients(broker.bootstrap)) as clients:
        found = clients.admin.describe_configs([resource], config_filter="all")
    return {name: entry["value"] for name, entry in found["broker"]["1"].items()}
