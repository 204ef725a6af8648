"""Applications with a fixed address of Kafka."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ini_settings import settings
from marks import nightly
from pytest_berth.api import Credentials
from pytest_berth.collection import common_checks
from pytest_berth.config.loading import SETTINGS
from pytest_berth.errors import SettingsError
from pytest_berth.services.kafka import launch
from pytest_berth.services.kafka.service import KAFKA
from pytest_berth.sources import ports

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Project
    from pytest_berth.api import Service


@pytest.mark.parametrize("source", ["local", *nightly("container")])
def test_an_application_finds_the_broker_at_the_port_that_it_has_written_down(
    project: Project, require_service: Callable[[Service, str], None], source: str
) -> None:
    require_service(KAFKA, source)
    reservation = ports.reserve()
    reservation.lock.release()
    port = reservation.port
    project.ini(
        f"berth_kafka_source = {source}",
        f"berth_kafka_port = {port}",
        "berth_kafka_topics = orders",
        "berth_autouse = kafka",
        "berth_keep = 1m",
    )
    project.write(
        test_fixed=f"""
        from confluent_kafka import Producer

        def test_application():
            producer = Producer({{"bootstrap.servers": "127.0.0.1:{port}"}})
            producer.produce("orders", b"new")
            assert producer.flush(30) == 0

        def test_fixture(kafka_probe):
            assert kafka_probe.bootstrap == "127.0.0.1:{port}"
            kafka_probe.expect_none("orders", within=0.1)
            kafka_probe.publish("orders", b"newer")
            assert kafka_probe.expect_one("orders").value == b"newer"
        """
    )
    project.run("-p", "no:randomly").assert_outcomes(passed=2)
    ports.claim(KAFKA, settings(KAFKA, berth_kafka_port=str(port)), [])  # and nothing listens there


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (
            {"berth_kafka_scope": "worker"},
            "several workers cannot each have a broker at the same port.",
        ),
        (
            {"berth_kafka_url": "there:9092"},
            "berth_kafka_port has no effect on a server that is given by URL.",
        ),
    ],
)
def test_what_cannot_be_fixed_is_told(
    given: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fixing = settings(KAFKA, berth_kafka_port="9092", **given)
    item: Any = SimpleNamespace(
        config=SimpleNamespace(stash={SETTINGS: fixing}), iter_markers=lambda name: []
    )
    monkeypatch.setattr(KAFKA.backend, "check", lambda items: None)
    with pytest.raises(SettingsError) as raised:
        common_checks.check(KAFKA, [item], is_exported=False, workers=2)
    assert raised.value.what == told
    assert "berth_kafka_port = 9092" in raised.value.why


def test_inside_a_container_no_port_is_needed_twice() -> None:
    spec = launch.container(
        settings(KAFKA, berth_kafka_port="9093"), Credentials("", "", "cluster")
    )
    assert spec.port == 9093
    assert spec.environment["KAFKA_CONTROLLER_QUORUM_VOTERS"] == "1@127.0.0.1:9094"
