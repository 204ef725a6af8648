"""A broker of somebody else's that comes to the port of ours keeps everything that it has."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import pytest

from marks import nightly
from pytest_berth.services.kafka import broker_state, topics
from pytest_berth.services.kafka.brokers import Brokers
from pytest_berth.services.kafka.connection import Connection, ForeignBrokerError
from pytest_berth.services.kafka.consumer_groups import Groups
from pytest_berth.services.kafka.service import KAFKA
from pytest_berth.services.kafka.topic_reader import Reader
from temporary import open_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.conftest import Project

    from pytest_berth.api import Service

# Another broker with the same settings, at the same port, with a cluster and data of its own.
TAKE_OVER = """
    import json, os, pathlib, shutil, subprocess, time
    import psutil
    from confluent_kafka import Consumer, Producer, TopicPartition
    from confluent_kafka.admin import (
        AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType
    )
    from pytest_berth import wait_for

    def take_over(handle, address):
        ours = pathlib.Path(handle["directory"])
        theirs = pathlib.Path("theirs").absolute()
        (theirs / "data").mkdir(parents=True)
        settings = (ours / "server.properties").read_text()
        (theirs / "server.properties").write_text(settings.replace(str(ours), str(theirs)))
        meta = [
            line for line in (ours / "data/meta.properties").read_text().splitlines()
            if not line.startswith("cluster.id")
        ]
        (theirs / "data/meta.properties").write_text("\\n".join([*meta, "cluster.id=theirs", ""]))
        shutil.copy(ours / "data/bootstrap.checkpoint", theirs / "data")
        process = psutil.Process(handle["pid"])
        command = [word.replace(str(ours), str(theirs)) for word in process.cmdline()]
        process.kill()
        wait_for(lambda: not process.is_running() or process.status() == "zombie", 30)
        with open("theirs.log", "wb") as log:
            other = subprocess.Popen(command, cwd=theirs, stdout=log, stderr=log,
                start_new_session=True)
        other.returncode = 0
        pathlib.Path("theirs.json").write_text(json.dumps([other.pid, address]))
        fill(address)

    def fill(address):
        admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
        wait_for(lambda: admin.list_topics(timeout=5).brokers, 60, ignore=Exception)
        made = admin.create_topics([NewTopic("orders", 2, 1), NewTopic("berth-theirs", 1, 1)])
        for each in made.values():
            each.result()
        entry = ConfigEntry("retention.ms", "777777", incremental_operation=AlterConfigOpType.SET)
        resource = ConfigResource(ResourceType.TOPIC, "orders", incremental_configs=[entry])
        for each in admin.incremental_alter_configs([resource]).values():
            each.result()
        producer = Producer({"bootstrap.servers": address, "log_level": 0})
        for number in range(3):
            producer.produce("orders", b"precious", partition=0)
        assert producer.flush(30) == 0
        consumer = Consumer({"bootstrap.servers": address, "group.id": "theirs", "log_level": 0})
        wait_for(
            lambda: consumer.commit(offsets=[TopicPartition("orders", 0, 1)], asynchronous=False),
            60, ignore=Exception,
        )
        consumer.close()
"""
THEIRS = {
    "orders": [b"precious"] * 3,
    "configs": {"retention.ms": "777777"},
    "partitions": [0, 1],
    "topics": ["berth-theirs", "orders"],
    "groups": {"theirs": {("orders", 0): 1}},
    "state": [],
}


def _look(address: str) -> dict[str, Any]:
    """Return everything that berth could have changed."""
    with closing(Brokers(address)) as brokers:
        orders = topics.describe(brokers, ["orders"])["orders"]
        reader, groups = Reader(brokers), Groups(brokers)
        starts, ends = reader.starts("orders"), reader.ends("orders")
        records = reader.read_to("orders", starts, ends, 30)
        return {
            "orders": [record.value for record in records],
            "configs": orders.configs,
            "partitions": sorted(orders.leaders),
            "topics": reader.topics(),
            "groups": groups.commits(groups.all(), {"orders": [0, 1]}),
            "state": [
                line
                for line in broker_state.look(brokers).lines()
                if not line.startswith("setting 8 ")  # loggers' levels
                and not line.endswith("min.insync.replicas=1")  # set by the broker itself
            ],
        }


@pytest.fixture
def theirs(project: Project) -> Iterator[Callable[[], dict[str, Any]]]:
    """What the broker has now that was put into the place of ours; it is ended afterwards."""
    path = project.root / "theirs.json"

    def look() -> dict[str, Any]:
        return _look(json.loads(path.read_text())[1])

    yield look
    if path.exists():
        with suppress(ProcessLookupError):
            os.kill(json.loads(path.read_text())[0], signal.SIGKILL)


@pytest.fixture
def local(
    project: Project, require_service: Callable[[Service, str], None], pytestconfig: Any
) -> Project:
    """A project with a broker of its own on this machine."""
    require_service(KAFKA, "local")
    project.write(foreign=TAKE_OVER)
    return project


@pytest.mark.parametrize("moment", ["between tests", *nightly("in a test")])
def test_a_broker_that_comes_in_mid_run_is_left_alone(
    local: Project, theirs: Callable[[], dict[str, Any]], moment: str
) -> None:
    local.ini("berth_kafka_source = local", "berth_kafka_topics = orders")
    local.conftest(
        f"""
        import pytest
        from foreign import take_over

        MOMENT = {moment!r}

        def replace(server):
            take_over(server.server.handle, f"{{server.host}}:{{server.port}}")

        def pytest_runtest_logfinish(nodeid):
            if MOMENT == "between tests" and nodeid.endswith("test_1"):
                replace(SERVER[0])

        SERVER = []
        """
    )
    local.write(
        test_it="""
        import conftest

        def test_1(kafka_probe, kafka_server, kafka_topic):
            conftest.SERVER.append(kafka_server)
            kafka_probe.publish("orders", "ours")

        def test_2(kafka_probe, kafka_server):
            kafka_probe.publish("orders", "ours")
            if conftest.MOMENT == "in a test":
                conftest.replace(kafka_server)

        def test_3(kafka_probe):
            kafka_probe.publish("orders", "ours")

        def test_4(kafka_probe):
            kafka_probe.topic()
        """
    )
    result = local.run("-v", "-p", "no:randomly")
    assert theirs() == THEIRS
    result.stdout.fnmatch_lines(
        [
            "*the kafka server is lost.",
            "*was ended by SIGKILL*",
            "*is not the one that this run works with.*",
        ]
    )
    result.stdout.no_fnmatch_line("*test_3 PASSED*")


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A directory for what runs leave for later ones."""
    with open_home() as place:
        monkeypatch.setenv("TMPDIR", str(place))
        yield str(place)


@pytest.mark.usefixtures("temporary")
def test_a_broker_in_the_place_of_a_kept_one_is_left_alone(
    local: Project, theirs: Callable[[], dict[str, Any]]
) -> None:
    local.ini("berth_kafka_source = local", "berth_kafka_topics = orders", "berth_keep = 5m")
    local.write(
        test_it="""
        import json, pathlib

        def test_it(kafka_probe, kafka_server):
            handle, address = kafka_server.server.handle, kafka_probe.bootstrap
            pathlib.Path("ours.json").write_text(json.dumps([handle, address]))
            kafka_probe.publish("orders", "ours")
            kafka_probe.expect_one("orders")
        """
    )
    local.run().assert_outcomes(passed=1)
    kept = json.loads((local.root / "ours.json").read_text())
    code = "import json; from foreign import take_over; take_over(*json.load(open('ours.json')))"
    local.pytester.run(sys.executable, "-c", code)
    result = local.run()
    again = json.loads((local.root / "ours.json").read_text())
    local.run("--berth-stop")
    assert theirs() == THEIRS
    result.assert_outcomes(passed=1)
    assert kept[0]["pid"] != again[0]["pid"]
    result.stdout.fnmatch_lines(["*the server kept for this project is passed over:*"])


def test_each_connection_proves_where_it_leads(kafka_bootstrap: str, kafka_server: Any) -> None:
    host, port = kafka_server.host, kafka_server.port
    with pytest.raises(ForeignBrokerError, match=r"is not the one that this run works with"):
        Connection(host, port, "another cluster")
    with closing(Brokers(kafka_bootstrap, "another cluster")) as brokers:
        with pytest.raises(ForeignBrokerError):
            topics.delete(brokers, ["orders"])
        brokers.cluster_id = ""
        topics.find(brokers)
        known, brokers.cluster_id = brokers.cluster_id, "another cluster"
        assert known
        # The connection breaks, and the next one leads elsewhere.
        for connection in brokers._open.values():
            connection.close()
        with pytest.raises(ForeignBrokerError):
            topics.delete(brokers, ["orders"])
