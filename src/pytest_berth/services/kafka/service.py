"""What Kafka is to the plugin: its name, settings, fixtures and placeholders."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from pytest_berth.services.built_in import BuiltIn
from pytest_berth.services.kafka import options as ini

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pytest_berth.api import Credentials, Server, Service
    from pytest_berth.config.options import Option, Settings
    from pytest_berth.services.rooms import Items, Launch, Urls


class Kafka(BuiltIn):
    """The service ``kafka``."""

    name = "kafka"
    prefix = "kafka"
    extra = "kafka"
    packages: tuple[str, ...] = ("kafka",)
    options = ini.OPTIONS
    url = ini.URL
    source = ini.SOURCE
    scope: Option[str] | None = ini.SCOPE
    port: Option[int] | None = ini.PORT
    snapshots = True
    own: Mapping[str, str] = {
        "_kafka_workspace": "_kafka_own_workspace",
        "kafka_server": "_kafka_own_server",
        "kafka_bootstrap": "_kafka_own_bootstrap",
    }
    usual_start = 1.0
    fixtures = frozenset(
        {
            "kafka_server",
            "kafka_bootstrap",
            "kafka_producer",
            "kafka_consumer",
            "kafka_admin",
            "kafka_topic",
            "kafka_probe",
            "kafka_async_probe",
        }
    )
    placeholders = frozenset({"kafka_bootstrap", "kafka_prefix"})

    def credentials(self, settings: Settings) -> Credentials:
        """Return the account of a broker to be started: the id of a new cluster."""
        from pytest_berth.services.kafka import fixed_address

        return fixed_address.chosen(settings, super().credentials(settings))

    @property
    def launch(self) -> Launch:
        """How a broker is launched."""
        from pytest_berth.services.kafka import launch

        return launch

    @property
    def urls(self) -> Urls:
        """How a broker is addressed."""
        from pytest_berth.services.kafka import urls

        return urls

    @property
    def items(self) -> Items:
        """What a test asks for."""
        from pytest_berth.services.kafka import requirements

        return requirements

    def load_drivers(self) -> None:
        """Import kafka-python, without its warnings."""
        import_module("pytest_berth.services.kafka.kafka_python")

    def probe(self, server: Server) -> str:
        """Ask once for the cluster's metadata and return the version, such as ``"4.1.0"``."""
        from pytest_berth.services.kafka import wire_protocol

        return wire_protocol.probe(server)

    def own_log(self, log: str, server: Server, run_id: str, worker: str) -> str:
        """Leave out of the log what names other workers' topics and groups."""
        from pytest_berth.services.kafka import names

        return names.own_lines(log, run_id, worker)

    def release(self, server: Server, run_id: str) -> None:
        """Delete the topics and groups that a run has created on an external broker."""
        from pytest_berth.services.kafka import topic_restore

        topic_restore.release(server, run_id)

    def strip(self, server: Server, run_id: str) -> bool:
        """Leave everything: what is kept is a file that no test can change."""
        return not server.thawed

    def condition(self, server: Server) -> Sequence[str]:
        """Describe the topics, groups and settings of a broker of ours."""
        from pytest_berth.services.kafka import reset_server

        return reset_server.condition(server)

    def renew(
        self, server: Server, run_id: str, condition: Sequence[str], password: str
    ) -> Sequence[str]:
        """Delete all topics and groups."""
        from pytest_berth.services.kafka import reset_server

        return reset_server.renew(server)

    def values(self, server: Server, run_id: str, worker: str) -> Mapping[str, object]:
        """Return the placeholders' values for a worker."""
        from pytest_berth.services.kafka import names, urls

        return {
            "kafka_bootstrap": urls.bootstrap(server),
            "kafka_prefix": names.prefix(run_id, worker),
        }


KAFKA: Service = Kafka()
