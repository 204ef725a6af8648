"""The storage of a new broker: formatted once per version, and copied from then on."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from pytest_berth.errors import StartError
from pytest_berth.services.kafka import broker_properties
from pytest_berth.sources import os_account
from pytest_berth.sources.artifact_cache import make

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_berth.services.kafka.class_archive import Broker

CHECKPOINT = "bootstrap.checkpoint"
_ANY_CLUSTER = "berthberthberthberthbw"
_UNUSED = "127.0.0.1:1"


def bootstrap(broker: Broker, directory: Path) -> bytes:
    """Return the checkpoint that a new cluster begins with, made when it is not there yet.

    It names the features of the version, and neither cluster nor address.

    Args:
        broker: The program.
        directory: Where the storage may be formatted.

    Raises:
        StartError: Kafka could not format it.
    """
    kept = broker.cache / f"kafka-{broker.version}-{CHECKPOINT}"
    if kept.is_file():
        return kept.read_bytes()
    content = _format(broker, directory)
    make(broker.cache)
    partial = kept.with_name(f"{kept.name}.{os.getpid()}")
    partial.write_bytes(content)
    partial.replace(kept)
    return content


def _format(broker: Broker, directory: Path) -> bytes:
    data = directory / "format"
    node = broker_properties.of_node("127.0.0.1:2", _UNUSED, data.as_posix())
    os_account.write(directory / "format.properties", broker_properties.render(node))
    command = [*broker.command(), "kafka.tools.StorageTool", "format"]
    command += ["-t", _ANY_CLUSTER, "-c", str(directory / "format.properties")]
    result = os_account.run(command, directory)
    checkpoint = data / CHECKPOINT
    if result.returncode or not checkpoint.is_file():
        raise StartError(
            f"Kafka {broker.version} could not format its storage.",
            why=result.stdout.strip()[-2000:],
            remedy=f"try the command by hand: {' '.join(command)}",
        )
    content = checkpoint.read_bytes()
    shutil.rmtree(data)
    return content
