"""What goes over an engine's socket is what docker-py would have sent, and so are the answers."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

import pytest
from docker.errors import ImageNotFound

from pytest_berth.sources import engine_errors, engine_socket, images, socket_engine
from pytest_berth.sources.labels import RUN
from pytest_berth.sources.socket_engine import SocketEngine

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import docker

IMAGE = "redis:8-alpine"


@pytest.fixture
def engine(client: docker.DockerClient) -> SocketEngine:
    path = engine_socket.socket_path()
    if path is None:
        pytest.skip("the engine is not one behind a local socket")
    try:
        client.images.get(IMAGE)
    except ImageNotFound:
        pytest.skip(f"the engine has no {IMAGE}")
    return SocketEngine(path)


def settled(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a container was created with, but for what is each one's own."""
    own = {"Hostname", "AttachStdout", "AttachStderr"}
    config = {name: value for name, value in attrs["Config"].items() if name not in own}
    return {**config, "host": attrs["HostConfig"]}


def test_a_container_is_the_same_as_docker_pys(
    engine: SocketEngine, client: docker.DockerClient
) -> None:
    name = f"berth-test-{os.urandom(4).hex()}"
    options: dict[str, Any] = {
        "command": ["redis-server", "--save", ""],
        "environment": {"ONE": "1", "TWO": "a=b"},
        "labels": {RUN: name},
        "tmpfs": {"/data": ""},
        "ports": {"6379/tcp": ("127.0.0.1", None), "6380/tcp": ("127.0.0.1", 17655)},
    }
    made = [
        engine.containers.create(IMAGE, name=f"{name}-a", **options),
        client.containers.create(IMAGE, name=f"{name}-b", **options),
    ]
    try:
        ours, theirs = (settled(client.containers.get(each.id).attrs) for each in made)
        assert ours == theirs
        assert engine.containers.get(made[0].id).labels[RUN] == name
        with pytest.raises(ConnectionError):
            engine.port(made[0].id, 6379)

        listed = {"all": True, "filters": {"label": f"{RUN}={name}"}, "sparse": True}
        ids = [[each.id for each in side.list(**listed)] for side in _containers(engine, client)]
        assert ids[0] == ids[1]
        assert len(ids[0]) == 2

        with pytest.raises(engine_errors.RefusedError, match="already in use"):
            engine.containers.create(IMAGE, name=f"{name}-b", **options)
    finally:
        for each in made:
            engine.containers.get(each.id).remove(force=True, v=True)
    with pytest.raises(engine_errors.not_found()):
        engine.containers.get(made[0].id)


def _containers(engine: SocketEngine, client: docker.DockerClient) -> tuple[Any, Any]:
    return engine.containers, client.containers


def test_images_and_networks_are_the_same_as_docker_pys(
    engine: SocketEngine, client: docker.DockerClient
) -> None:
    assert images.identity(engine, IMAGE) == client.images.get(IMAGE).id
    assert not images.present(engine, f"none-{os.urandom(4).hex()}:1")
    bridges = {"name": "^bridge$"}
    (ours,) = engine.networks.list(filters=bridges)
    (theirs,) = client.networks.list(filters=bridges)
    assert (ours.id, ours.name, ours.attrs["Labels"]) == (
        theirs.id,
        theirs.name,
        theirs.attrs["Labels"],
    )


def test_what_only_testcontainers_knows_is_left_to_it(
    engine: SocketEngine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delitem(sys.modules, "testcontainers.core.config", raising=False)
    assert socket_engine.place() == engine.socket

    with monkeypatch.context() as set_by_variable:
        set_by_variable.setenv("TESTCONTAINERS_HOST_OVERRIDE", "elsewhere")
        assert socket_engine.place() is None
    with monkeypatch.context() as over_tcp:
        over_tcp.setenv("DOCKER_HOST", "tcp://localhost:2375")
        assert socket_engine.place() is None
    with monkeypatch.context() as set_by_a_program:
        set_by_a_program.setitem(sys.modules, "testcontainers.core.config", sys)
        assert socket_engine.place() is None

    (tmp_path / ".docker").mkdir()
    configuration = tmp_path / ".docker/config.json"
    configuration.write_text('{"proxies": {"default": {"httpProxy": "http://proxy:3128"}}}')
    assert socket_engine.place() is None
    configuration.write_text('{"auths": {}}')
    assert socket_engine.place() == engine.socket
    (tmp_path / ".testcontainers.properties").touch()
    assert socket_engine.place() is None
