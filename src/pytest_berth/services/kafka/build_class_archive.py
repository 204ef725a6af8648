"""Makes the archive of classes for a Kafka and a Java, once, in the background.

    python -m pytest_berth.services.kafka.build_class_archive VERSION JAVA CACHE

The broker is launched as for a test, is used as tests use it, and writes the archive when it ends.
Another process that does the same is not waited for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

from pytest_berth.config.options import ARTIFACT_MIRROR
from pytest_berth.debug_log import ignoring
from pytest_berth.errors import BerthError
from pytest_berth.services.kafka import (
    broker_properties,
    launch,
    pinned_artifacts,
    storage,
    wire_protocol,
)
from pytest_berth.services.kafka.class_archive import Broker
from pytest_berth.sources import java, os_account, ports
from pytest_berth.waiting import wait_for

_START_WITHIN = 60.0
_WRITE_WITHIN = 180.0


class Silence:
    """Progress that nobody looks at."""

    def note(self, text: str) -> None:
        """Print nothing."""

    def update(self, label: str, done: int, total: int | None) -> None:
        """Show nothing."""

    def phase(self, what: str, text: str) -> None:
        """Show nothing."""


def main(version: str, program: str, cache: str) -> None:
    """Make the archive, unless it is there, cannot be made, or is being made already."""
    with ignoring(OSError, AttributeError, why="the archive is made at the usual priority"):
        os.nice(10)
    path = Path(program)
    found = java.Java(path, java.version_of(path), "given")
    jars = pinned_artifacts.class_path(
        version, cache=Path(cache), mirror=ARTIFACT_MIRROR.default, progress=Silence()
    )
    train(Broker(version, found, jars, Path(cache)))


def train(broker: Broker) -> None:
    """Make a broker's archive, unless it is there, cannot be made, or is being made already."""
    from filelock import FileLock, Timeout

    lock = FileLock(broker.archive.with_name(broker.archive.name + ".lock"), timeout=0)
    with ignoring(Timeout, why="another process makes the archive"), lock:
        if broker.training():
            _sweep(broker)
            directory = Path(tempfile.mkdtemp(prefix="berth-kafka-training-"))
            try:
                os_account.give(directory)
                _make(broker, directory)
            finally:
                shutil.rmtree(directory, ignore_errors=True)


def _make(broker: Broker, directory: Path) -> None:
    written, log = directory / "archive", directory / "log"
    try:
        with log.open("wb") as stream:
            _run(broker, directory, written, stream.fileno())
    except (BerthError, OSError, TimeoutError, subprocess.TimeoutExpired) as error:
        broker.failed.write_text(f"{error}\n{log.read_text(errors='replace')[-5000:]}")
        return
    if not written.is_file():
        broker.failed.write_text(log.read_text(errors="replace")[-5000:])
        return
    partial = broker.archive.with_name(f"{broker.archive.name}.{os.getpid()}")
    shutil.copyfile(written, partial)
    partial.chmod(0o644)
    partial.replace(broker.archive)
    broker.failed.unlink(missing_ok=True)


def _run(broker: Broker, directory: Path, written: Path, log: int) -> None:
    reserved = [ports.reserve(), ports.reserve()]
    address, controller = (f"127.0.0.1:{reservation.port}" for reservation in reserved)
    data = directory / "data"
    data.mkdir()
    os_account.give(data)
    node = broker_properties.of_node(address, controller, data.as_posix())
    os_account.write(
        directory / "server.properties",
        broker_properties.render({**broker_properties.FIT_FOR_TESTS, **node}),
    )
    cluster = launch.credentials().database
    os_account.write(data / "meta.properties", broker_properties.meta(cluster))
    os_account.write(data / "bootstrap.checkpoint", storage.bootstrap(broker, directory))
    command = [*broker.command(written), "kafka.Kafka", str(directory / "server.properties")]
    process = subprocess.Popen(
        command,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        **os_account.identity(),
    )
    try:
        _use(process, reserved[0].port, address)
        process.terminate()
        process.wait(_WRITE_WITHIN)
    finally:
        process.kill()
        process.wait()


def _use(process: subprocess.Popen[bytes], port: int, address: str) -> None:
    """Do what tests do, so that its classes are in the archive."""
    wait_for(
        lambda: process.poll() is not None or wire_protocol.ask("127.0.0.1", port).brokers,
        _START_WITHIN,
        ignore=OSError,
        message="the broker's answer",
    )
    from pytest_berth.services.kafka.clients import Clients

    with closing(Clients(address)) as clients:
        clients.admin.create_topics(["training"], wait_for_metadata=True)
        clients.producer.send("training", b"value", key=b"key").get(10)
        with clients.consumer(group_id="training") as consumer:
            consumer.subscribe(["training"])
            wait_for(lambda: consumer.poll(100), 20, message="the record")
            consumer.commit()
        clients.admin.list_group_offsets("training")
        clients.admin.delete_topics(["training"])


def _sweep(broker: Broker) -> None:
    """Remove what killed processes left of this archive: nobody else holds the lock."""
    for partial in broker.cache.glob(f"{broker.archive.name}.[0-9]*"):
        partial.unlink(missing_ok=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
