"""What Kafka does: how servers are launched, asked, opened and cleaned."""

from __future__ import annotations

import shlex
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING

from pytest_berth.api import Backend, Client
from pytest_berth.services.kafka import launch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    import pytest

    from pytest_berth.api import (
        Container,
        Credentials,
        LocalPart,
        LocalProcess,
        LocalRequest,
        Server,
        Worker,
    )
    from pytest_berth.config.options import Settings
    from pytest_berth.errors import BerthError
    from pytest_berth.services.kafka.namespace import KafkaNamespace


class Kafka(Backend):
    """The service ``kafka``."""

    def account(self, settings: Settings) -> Credentials:
        """Return the account of a broker to be started: the id of a new cluster."""
        return replace(launch.credentials(), given=bool(settings[self.service.port]))

    def container(self, settings: Settings, account: Credentials) -> Container:
        """Describe the container, through the interface of the official image."""
        return launch.container(settings, account)

    def local_obstacle(self, settings: Settings) -> BerthError | None:
        """Tell why there is no broker's files, or no Java, for this machine."""
        return launch.local_obstacle(settings)

    def local(self, settings: Settings, request: LocalRequest) -> LocalProcess:
        """Describe the local process."""
        return launch.local(settings, request)

    def local_parts(self, settings: Settings) -> Sequence[LocalPart]:
        """Return what the local process is made of."""
        return launch.local_parts(settings)

    def local_identity(self, settings: Settings) -> Sequence[str]:
        """Return what makes one local process differ from another: programs and settings."""
        return launch.local_shape(settings)

    def server_at(self, url: str) -> Server:
        """Return the external cluster at the URL."""
        from pytest_berth.services.kafka import urls

        return urls.server(url, reason=f"{self.service.url.name} is set")

    def placeholders(
        self, server: Server, settings: Settings, run_id: str, worker: str
    ) -> Mapping[str, object]:
        """Return the placeholders' values for a worker."""
        from pytest_berth.services.kafka import names, urls

        return {
            "kafka_bootstrap": urls.bootstrap(server),
            "kafka_prefix": names.prefix(run_id, worker),
        }

    def probe(self, server: Server) -> str:
        """Ask once for the cluster's metadata and return the version, such as ``"4.1.0"``."""
        from pytest_berth.services.kafka import wire_protocol

        return wire_protocol.probe(server)

    def open(self, server: Server, worker: Worker) -> AbstractContextManager[KafkaNamespace]:
        """Open the worker's place on the broker: the run's topics are there."""
        from pytest_berth.services.kafka import namespace

        return namespace.opened(server, worker)

    def prompt(self, values: Mapping[str, str]) -> Mapping[str, object]:
        """Return kafka-python's client for administration, and a consumer of no group."""
        from pytest_berth.services.kafka.kafka_python import KafkaAdminClient, KafkaConsumer

        address = values["kafka_bootstrap"]
        consumer = KafkaConsumer(bootstrap_servers=address, auto_offset_reset="earliest")
        return {"admin": KafkaAdminClient(bootstrap_servers=address), "consumer": consumer}

    def connection_errors(self) -> tuple[type[Exception], ...]:
        """Return what says that a connection has failed, or leads to another broker by now."""
        from pytest_berth.services.kafka.connection import ForeignBrokerError
        from pytest_berth.services.kafka.kafka_python import errors

        return (errors.KafkaError, OSError, ForeignBrokerError)

    def check(self, items: Sequence[pytest.Item]) -> None:
        """Check the topics that the tests name."""
        from pytest_berth.services.kafka import requirements

        requirements.check(items)

    def describe_isolation(self, item: pytest.Item) -> str:
        """Describe the test's isolation, and why it was chosen."""
        from pytest_berth.services.kafka import requirements

        return requirements.isolation(item)

    def load_drivers(self) -> None:
        """Import kafka-python, without its warnings."""
        import_module("pytest_berth.services.kafka.kafka_python")

    def load(self, items: Sequence[pytest.Item], *, starts: bool) -> None:
        """Import what else its tests need."""
        import_module("pytest_berth.services.kafka.namespace")

    def own_log(self, log: str, server: Server, run_id: str, worker: str) -> str:
        """Leave out of the log what names other workers' topics and groups."""
        from pytest_berth.services.kafka import names

        return names.own_lines(log, run_id, worker)

    def release(self, server: Server, run_id: str) -> None:
        """Delete the topics and groups that a run has created on an external broker."""
        from pytest_berth.services.kafka import restore

        restore.release(server, run_id)

    def client(self, server: Server, name: str) -> Client:
        """Return the command that prints the records of a topic."""
        from pytest_berth.services.kafka import urls

        place = urls.bootstrap(server)
        code = f"import kafka; [print(each) for each in kafka.KafkaConsumer('{name}',"
        code += f" bootstrap_servers='{place}', auto_offset_reset='earliest',"
        code += " consumer_timeout_ms=2000)]"
        return Client(
            shlex.split(urls.kcat(server, name)),
            {},
            "install kcat (apt-get install kcat, brew install kcat), or add a command of yours:"
            f' -- python -c "{code}"',
        )

    def discard_kept(self, server: Server, name: str) -> None:
        """Delete a kept topic."""
        from pytest_berth.services.kafka import reset_for_reuse

        reset_for_reuse.discard_kept(server, name)

    def prepare_snapshot(self, server: Server, run_id: str) -> bool:
        """Leave everything: what is kept is a file that no test can change."""
        return not server.from_snapshot

    def state_digest(self, server: Server) -> Sequence[str]:
        """Return the topics, groups and settings of a broker of ours."""
        from pytest_berth.services.kafka import reset_for_reuse

        return reset_for_reuse.condition(server)

    def reset_server(
        self, server: Server, run_id: str, digest: Sequence[str], password: str
    ) -> Sequence[str]:
        """Delete all topics and groups."""
        from pytest_berth.services.kafka import reset_for_reuse

        return reset_for_reuse.renew(server)
