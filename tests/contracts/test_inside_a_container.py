"""pytest in a container, with the engine's socket mounted: as dev containers and CI jobs do."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from docker.errors import APIError, ContainerError

import pytest_berth
from pytest_berth import wait_for
from pytest_berth.sources import labels
from pytest_berth.sources.labels import INSIDE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import docker
    from tests.contracts.conftest import Stage

IMAGE = "postgres:17-alpine"
OPTIONS = ["-p", "no:asyncio", "-p", "no:cacheprovider", "--berth-source=container", "-rP"]
# Runs of the same user remove what dead runs have left, and other tests are such runs.
USER = f"of-this-test-{os.urandom(4).hex()}"
CONFTEST = f"""
from pytest_berth.sources import labels

labels.user = lambda: "{USER}"
"""
TEST = """
from sqlalchemy import text

import threading

def test_that_takes_long(pg_session):
    threading.Event().wait(100)

def test_server(pg_session, pg_server):
    assert pg_session.scalar(text("SELECT 1")) == 1
    print("served at", pg_server.host, pg_server.port)
"""


@pytest.fixture
def run(client: docker.DockerClient) -> Iterator[Callable[..., Any]]:
    """Return a function that runs this interpreter in a container and returns what it prints."""
    with tempfile.TemporaryDirectory(prefix="berth-test-") as name:
        Path(name, "pytest.ini").write_text("[pytest]\n")
        Path(name, "test_it.py").write_text(TEST)
        Path(name, "conftest.py").write_text(CONFTEST)
        source = Path(pytest_berth.__file__).parents[2]
        mounts = dict.fromkeys(("/usr", sys.base_prefix, sys.prefix, str(source)), "ro")
        mounts |= {name: "rw", client.api.get_adapter(client.api.base_url).socket_path: "rw"}
        volumes: Any = {path: {"bind": path, "mode": mode} for path, mode in mounts.items()}

        def run(*arguments: str, **options: Any) -> Any:
            result = client.containers.run(
                IMAGE,
                list(arguments),
                entrypoint=[sys.executable, "-B"],
                volumes=volumes,
                working_dir=name,
                **(options or {"remove": True, "stderr": True}),
            )
            return result if options else str(result.decode())

        try:
            run("-c", "import pytest_berth, psycopg")
        except (APIError, ContainerError) as error:
            pytest.skip(f"this interpreter does not run in a container of {IMAGE}: {error}")
        yield run


def test_a_container_beside_our_own_is_reached_at_its_address(run: Callable[..., str]) -> None:
    output = run("-m", "pytest", *OPTIONS, "-k", "test_server")
    assert "1 passed" in output
    (line,) = [line for line in output.splitlines() if line.startswith("served at")]
    _, _, host, port = line.split()
    assert host not in {"127.0.0.1", "localhost"}
    assert port == "5432"
    assert "published on all interfaces" not in output


def test_what_a_thrown_away_container_has_left_is_removed_by_the_next_run(
    run: Callable[..., Any],
    client: docker.DockerClient,
    stage: Stage,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = run("-m", "pytest", *OPTIONS, "-k", "takes_long", detach=True)

    def servers() -> list[Any]:
        # Without the details of each, as other tests remove theirs meanwhile.
        everything = client.containers.list(all=True, filters={"label": INSIDE}, sparse=True)
        return [each for each in everything if each.attrs["Labels"][INSIDE].startswith(job.id)]

    monkeypatch.setattr(labels, "user", lambda: USER)
    try:
        wait_for(lambda: [each for each in servers() if each.attrs["State"] == "running"], 60)
        stage.start("container")
        assert servers(), "a job that still runs keeps its server"
    finally:
        job.remove(force=True, v=True)
    assert servers(), "nobody is left who could have removed it"
    stage.start("container")
    assert not servers()
