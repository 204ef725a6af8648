"""What Kafka is to the plugin: its name, settings, fixtures and placeholders.

How a broker is launched, and what a test asks of it, is imported when a test needs it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.services.kafka import options as ini

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import pytest

    from pytest_berth.errors import BerthError
    from pytest_berth.service import (
        ContainerSpec,
        Credentials,
        LocalRequest,
        LocalSpec,
        Server,
        Service,
    )
    from pytest_berth.settings import Option, Settings


class Kafka:
    """The service ``kafka``."""

    name: str = "kafka"
    prefix: str = "kafka"
    extra: str = "kafka"
    packages: tuple[str, ...] = ("kafka",)
    options: tuple[Option[Any], ...] = ini.OPTIONS
    source: Option[str] = ini.SOURCE
    scope: Option[str] | None = ini.SCOPE
    own: Mapping[str, str] = {
        "_kafka_workspace": "_kafka_own_workspace",
        "kafka_server": "_kafka_own_server",
        "kafka_bootstrap": "_kafka_own_bootstrap",
    }
    claims: bool = False
    fixture_module: str = "pytest_berth.services.kafka.fixtures"
    slate: str = "_kafka_slate"
    late_slate: str = "_kafka_late_slate"
    fixtures: frozenset[str] = frozenset(
        {
            "kafka_server",
            "kafka_bootstrap",
            "kafka_producer",
            "kafka_consumer",
            "kafka_admin",
            "kafka_topic",
            "kafka_probe",
        }
    )
    placeholders: frozenset[str] = frozenset({"kafka_bootstrap", "kafka_prefix"})

    def credentials(self) -> Credentials:
        """Return the id of a new cluster, in the place of an account: Kafka has none here."""
        from pytest_berth.services.kafka import launch

        return launch.credentials()

    def container(self, settings: Settings, credentials: Credentials) -> ContainerSpec:
        """Describe the container, through the interface of the official image."""
        from pytest_berth.services.kafka import launch

        return launch.container(settings, credentials)

    def local_obstacle(self, settings: Settings) -> BerthError | None:
        """Tell why there is no Java, or no pinned Kafka, for a local broker."""
        from pytest_berth.services.kafka import launch

        return launch.local_obstacle(settings)

    def local(self, settings: Settings, request: LocalRequest) -> LocalSpec:
        """Describe the process."""
        from pytest_berth.services.kafka import launch

        return launch.local(settings, request)

    def external(self, settings: Settings) -> Server | None:
        """Return the broker that ``berth_kafka_url`` names."""
        from pytest_berth.services.kafka import urls

        url = settings[ini.URL]
        return urls.server(url, reason=f"{ini.URL.name} is set") if url else None

    def probe(self, server: Server) -> str:
        """Ask once for the cluster's metadata and return the version, such as ``"4.1.0"``."""
        from pytest_berth.services.kafka import wire

        return wire.probe(server)

    def own_log(self, log: str, run_id: str, worker: str) -> str:
        """Leave out of the log what names other workers' topics and groups."""
        from pytest_berth.services.kafka import names

        return names.own_lines(log, run_id, worker)

    def release(self, server: Server, run_id: str) -> None:
        """Delete the topics and groups that a run has created on an external broker."""
        from pytest_berth.services.kafka import cleaning

        cleaning.release(server, run_id)

    def check(self, items: Sequence[pytest.Item]) -> None:
        """Check the markers of the selected tests."""
        from pytest_berth.services.kafka import items as demands

        demands.check(items)

    def isolation(self, item: pytest.Item) -> str:
        """Describe the test's isolation, and why it was chosen."""
        from pytest_berth.services.kafka import items

        return items.isolation(item)

    def values(self, server: Server, run_id: str, worker: str) -> Mapping[str, object]:
        """Return the placeholders' values for a worker."""
        from pytest_berth.services.kafka import names, urls

        return {
            "kafka_bootstrap": urls.bootstrap(server),
            "kafka_prefix": names.prefix(run_id, worker),
        }


KAFKA: Service = Kafka()
