"""Snapshots of containers, whose data is in memory all the same."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import docker
import pytest

from pytest_berth.sources import images, snapshots
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Berthed
    from pytest_berth.sources.container_engine import Engine

IN_MEMORY = "tmpfs /berth/data tmpfs"
MOUNTS = "SELECT pg_read_file('/proc/mounts', 0, 100000)"


@pytest.fixture
def start(stage: Any, require_source: Callable[[str], None]) -> Iterator[Callable[[], Berthed]]:
    """Start a container whose run leaves a snapshot, of this test alone."""
    require_source("container")
    yield lambda: stage.start("container", berth_snapshots="on")
    stage.end()
    for image in _stored(stage.root):
        docker.from_env().images.remove(image)


def _stored(root: Any) -> list[str]:
    found = docker.from_env().api.images(filters={"label": images.SNAPSHOT})
    tags = {tag for image in found for tag in image["RepoTags"] or ()}
    return [tag for tag in tags if snapshots.project(root) in tag]


def test_the_data_is_in_memory_with_and_without_a_snapshot(
    start: Callable[[], Berthed], stage: Any
) -> None:
    for is_stored in (False, True, True):
        berthed = start()
        assert berthed.server.from_snapshot is is_stored
        assert IN_MEMORY in berthed.query(MOUNTS)
        stage.end()


def test_how_the_server_in_it_has_ended_is_told(start: Callable[[], Berthed]) -> None:
    berthed = start()
    kill = "kill -9 $(head -n 1 /berth/data/postmaster.pid)"
    berthed.container().exec_run(["sh", "-c", kill])
    told = wait_for(lambda: berthed.source.exit_status(berthed.server), 20.0, message="its end")
    assert told == "the container exited with status 137"


def test_what_could_not_be_copied_out_of_memory_is_no_snapshot(
    start: Callable[[], Berthed], stage: Any
) -> None:
    berthed = start()
    # A file, where the directory of the copies is to be.
    berthed.container().exec_run(["touch", "/berth/stored"])
    stage.end()
    (told,) = (line for line in berthed.notes if "could not be kept for later runs" in line)
    assert "its data is not complete: the container ended with status 1." in told
    assert not _stored(stage.root)


@pytest.mark.parametrize(
    ("layers", "found"), [(3, "sha256:stored"), (11, "sha256:stored"), (12, "")]
)
def test_a_snapshot_that_was_stored_anew_too_often_is_made_from_the_image_again(
    layers: int, found: str
) -> None:
    removed: list[str] = []

    def image(number: int) -> Any:
        attrs = {"RootFS": {"Layers": ["sha256:of-a-layer"] * number}}
        return SimpleNamespace(id="sha256:stored", attrs=attrs)

    stored = SimpleNamespace(
        get=lambda _: image(layers), remove=lambda name, **_: removed.append(name)
    )
    engine: Engine | Any = SimpleNamespace(images=stored)
    assert images.snapshot(engine, "postgres-a-b", image(3)) == found
    assert removed == ([] if found else ["pytest-berth/snapshot:postgres-a-b"])
