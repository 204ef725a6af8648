"""How a Kafka broker is launched."""

from __future__ import annotations

import base64
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from pytest_berth.api import Container, Credentials, LocalPart, LocalProcess, SnapshotFile
from pytest_berth.config.options import ARTIFACT_MIRROR
from pytest_berth.errors import BerthError, NoSourceError
from pytest_berth.services.kafka import broker_properties, storage
from pytest_berth.services.kafka import options as ini
from pytest_berth.sources.programs import file_fingerprints

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.api import LocalRequest
    from pytest_berth.config.options import Settings

_PORT = 9092
# Outside the image's VOLUMEs, which every start would have to fill anew.
_DATA = "/tmp/berth-kafka"
_ADDRESS, _GO = "/berth/address", "/berth/go"
_WAIT = f"until [ -e {_GO} ]; do sleep 0.02; done;"
_RUN = f"{_WAIT} KAFKA_ADVERTISED_LISTENERS=$(cat {_ADDRESS}) exec /etc/kafka/docker/run"
# The image's own launch formats the storage first, in a JVM of its own.
_PROPERTIES, _STORAGE = "/berth/server.properties", "/berth/storage"
_START = "/opt/kafka/bin/kafka-server-start.sh"
_RUN_FORMATTED = (
    f"{_WAIT} [ ! -x {_START} ] || {{ mkdir -p {_DATA} && cp {_STORAGE}/* {_DATA}/"
    f" && exec {_START} {_PROPERTIES}; }};"
    f" KAFKA_ADVERTISED_LISTENERS=$(cat {_ADDRESS}) exec /etc/kafka/docker/run"
)
_JAVA_OPTIONS = " ".join(broker_properties.JAVA_OPTIONS)
# The archive of classes that the image was built with; its own launch names it as well.
_CLASSES = "-XX:SharedArchiveFile=/opt/kafka/kafka.jsa"


def credentials() -> Credentials:
    """Return the id of a new cluster, in the place of an account: Kafka has none here.

    It is what tells our broker from others.
    """
    identity = base64.urlsafe_b64encode(os.urandom(16)).decode().rstrip("=")
    # Kafka's command line takes a leading dash for an option.
    return Credentials("", "", identity.replace("-", "A"))


def container(settings: Settings, credentials: Credentials) -> Container:
    """Describe the container, through the interface of the official image.

    Any variable ``KAFKA_*`` makes that image discard its own defaults: the whole set is given. The
    broker has to tell its clients the port that is published, which is known only when the
    container runs: the image's own launch waits for it.
    """
    image = settings[ini.IMAGE] or f"apache/kafka:{settings[ini.VERSION]}"
    # The port inside is the one outside, too, where an engine lets containers be reached directly.
    port = settings[ini.PORT] or _PORT
    controller, internal = (f"127.0.0.1:{each}" for each in _others(port))
    node = broker_properties.of_node(f"0.0.0.0:{port}", controller, _DATA, internal=internal)
    late_files = partial(_late_files, internal)
    values = {**broker_properties.given(settings), **node}
    environment = {
        "CLUSTER_ID": credentials.database,
        "KAFKA_HEAP_OPTS": "-Xms64m -Xmx256m",
        "KAFKA_JVM_PERFORMANCE_OPTS": _JAVA_OPTIONS,
        **broker_properties.variables(values),
    }
    plain = Container(
        image,
        port,
        environment,
        ["sh", "-c", _RUN],
        files={},
        late_files=late_files,
        in_memory=[_DATA],
    )
    start = partial(_formatted, plain, values, credentials, internal)
    identity = broker_properties.render(broker_properties.given(settings)).decode()
    return replace(
        plain, snapshot_file=SnapshotFile(f"{_DATA}/{storage.CHECKPOINT}", identity, start)
    )


def _formatted(
    plain: Container,
    values: Mapping[str, str],
    credentials: Credentials,
    internal: str,
    checkpoint: bytes,
) -> Container:
    """Describe a container whose storage need not be formatted."""

    def late_files(host: str, port: int) -> Mapping[str, bytes]:
        told = {"advertised.listeners": broker_properties.advertised(f"{host}:{port}", internal)}
        late = _late_files(internal, host, port)
        return {_PROPERTIES: broker_properties.render({**values, **told}), **late}

    return replace(
        plain,
        environment={
            **plain.environment,
            "KAFKA_JVM_PERFORMANCE_OPTS": f"{_JAVA_OPTIONS} {_CLASSES}",
        },
        command=["sh", "-c", _RUN_FORMATTED],
        files={
            f"{_STORAGE}/meta.properties": broker_properties.meta(credentials.database),
            f"{_STORAGE}/{storage.CHECKPOINT}": checkpoint,
        },
        late_files=late_files,
    )


def _others(port: int) -> list[int]:
    """Return the ports inside of the controller, and of the broker itself."""
    return [each for each in (9093, 9094, 9095) if each != port][:2]


def _late_files(internal: str, host: str, port: int) -> Mapping[str, bytes]:
    # The order matters: the launch goes on when the last file is there.
    return {_ADDRESS: broker_properties.advertised(f"{host}:{port}", internal).encode(), _GO: b""}


def local_obstacle(settings: Settings) -> BerthError | None:
    """Tell why there is no Java, or no pinned Kafka, for a local broker."""
    from pytest_berth.services.kafka import pinned_artifacts
    from pytest_berth.sources import java
    from pytest_berth.sources.artifacts import cache_directory

    version, pinned = settings[ini.VERSION], pinned_artifacts.pins()
    if version not in pinned:
        return NoSourceError(
            f"there are no pinned jars of Kafka {version}.",
            why=f"{settings.given(ini.VERSION)}; pinned: {', '.join(pinned)}",
            remedy=f"{ini.VERSION.name} = {max(pinned)}, or use a container:"
            " berth_kafka_source = container",
        )
    try:
        java.find("Kafka", "kafka")
        cache_directory()
    except BerthError as error:
        return error
    return None


def local_parts(settings: Settings) -> list[LocalPart]:
    """Return the Java, and the pinned jars."""
    from pytest_berth.services.kafka import pinned_artifacts
    from pytest_berth.sources import java

    found = java.find("Kafka", "kafka")
    jars = pinned_artifacts.pins()[settings[ini.VERSION]]
    return [LocalPart(f"Java {found.version} ({found.origin})"), *(jar.part for jar in jars)]


def local_shape(settings: Settings) -> list[str]:
    """Return what makes one process differ from another: Kafka, Java and settings."""
    from pytest_berth.sources import java

    version, given = settings[ini.VERSION], broker_properties.given(settings)
    lines = (f"{name}={value}" for name, value in given.items())
    return [version, *file_fingerprints(java.programs()), *lines]


def local(settings: Settings, request: LocalRequest) -> LocalProcess:
    """Describe the process."""
    from pytest_berth.services.kafka import class_archive, pinned_artifacts
    from pytest_berth.sources import java, os_account
    from pytest_berth.sources.artifacts import cache_directory

    version, cache = settings[ini.VERSION], cache_directory()
    found = java.find("Kafka", "kafka")
    jars = pinned_artifacts.class_path(
        version, cache=cache, mirror=settings[ARTIFACT_MIRROR], progress=request.progress
    )
    data = request.directory / "data"
    data.mkdir(mode=0o700)
    os_account.give(data)
    broker = class_archive.Broker(version, found, jars, cache)
    bootstrap = storage.bootstrap(broker, request.directory)
    address = f"127.0.0.1:{request.port}"
    controller = f"127.0.0.1:{request.further_port()}"
    node = broker_properties.of_node(address, controller, data.as_posix())
    return LocalProcess(
        version=version,
        detail=f"Java {found.version} ({found.origin})",
        prepare=[],
        command=[*broker.command(), "kafka.Kafka", str(request.directory / "server.properties")],
        files={
            "server.properties": broker_properties.render(
                {**broker_properties.given(settings), **node}
            ),
            "data/meta.properties": broker_properties.meta(request.credentials.database),
            "data/bootstrap.checkpoint": bootstrap,
        },
        # The data is thrown away.
        stop_signal="SIGKILL",
        after=broker.training(),
    )
