"""pytest in a container, with the engine's socket mounted: as dev containers and CI jobs do."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from docker.errors import APIError, ContainerError

import pytest_berth

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import docker

IMAGE = "postgres:17-alpine"
TEST = """
from sqlalchemy import text

def test_server(pg_session, pg_server):
    assert pg_session.scalar(text("SELECT 1")) == 1
    print("served at", pg_server.host, pg_server.port)
"""


@pytest.fixture
def run(client: docker.DockerClient) -> Iterator[Callable[..., str]]:
    """Return a function that runs this interpreter in a container and returns what it prints."""
    with tempfile.TemporaryDirectory(prefix="berth-test-") as name:
        Path(name, "pytest.ini").write_text("[pytest]\n")
        Path(name, "test_it.py").write_text(TEST)
        source = Path(pytest_berth.__file__).parents[2]
        mounts = dict.fromkeys(("/usr", sys.base_prefix, sys.prefix, str(source)), "ro")
        mounts |= {name: "rw", client.api.get_adapter(client.api.base_url).socket_path: "rw"}
        volumes: Any = {path: {"bind": path, "mode": mode} for path, mode in mounts.items()}

        def run(*arguments: str) -> str:
            printed = client.containers.run(
                IMAGE,
                list(arguments),
                entrypoint=[sys.executable, "-B"],
                volumes=volumes,
                working_dir=name,
                remove=True,
                stderr=True,
            )
            return str(printed.decode())

        try:
            run("-c", "import pytest_berth, psycopg")
        except (APIError, ContainerError) as error:
            pytest.skip(f"this interpreter does not run in a container of {IMAGE}: {error}")
        yield run


def test_a_container_beside_our_own_is_reached_at_its_address(run: Callable[..., str]) -> None:
    options = ["-p", "no:asyncio", "-p", "no:cacheprovider", "--berth-source=container", "-rP"]
    output = run("-m", "pytest", *options)
    assert "1 passed" in output
    (line,) = [line for line in output.splitlines() if line.startswith("served at")]
    _, _, host, port = line.split()
    assert host not in {"127.0.0.1", "localhost"}
    assert port == "5432"
    assert "published on all interfaces" not in output
