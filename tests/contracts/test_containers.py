"""What only containers have: an engine that may be elsewhere, labels, volumes, mirrors."""

from __future__ import annotations

import io
import json
import os
import socket
import socketserver
import tarfile
import threading
import time
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import docker
import psycopg
import pytest
from docker.errors import APIError, ImageNotFound, NotFound
from testcontainers.core.config import ConnectionMode, testcontainers_config
from testcontainers.core.container import DockerContainer

from marks import nightly
from pytest_berth.sources import images
from pytest_berth.sources.container_engine import Engine
from pytest_berth.sources.labels import USER, user

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.contracts.conftest import Berthed, Stage


@pytest.fixture(autouse=True)
def _with_an_engine(require_source: Callable[[str], None]) -> None:
    require_source("container")


@pytest.fixture
def bridge(client: docker.DockerClient) -> str:
    """Return the address of this machine on the engine's network: as good as another host."""
    container = client.containers.create("postgres:17-alpine", command=["sleep", "60"])
    try:
        container.start()
        container.reload()
        return str(container.attrs["NetworkSettings"]["Gateway"])
    finally:
        container.remove(force=True, v=True)


@pytest.fixture
def ours(berthed_by_source: Callable[[str], Berthed]) -> Berthed:
    """A server that tests leave as it is."""
    return berthed_by_source("container")


def test_the_engine_shows_no_password(ours: Berthed) -> None:
    container = ours.container()
    shown = json.dumps([container.attrs, container.image.attrs, container.image.history()])
    assert ours.server.credentials.password not in shown


def test_data_is_outside_the_volume_of_the_image(ours: Berthed) -> None:
    container = ours.container()
    volumes = [mount["Destination"] for mount in container.attrs["Mounts"]]
    assert volumes
    for volume in volumes:
        assert not ours.query("SHOW data_directory").startswith(volume)
        assert container.exec_run(["find", volume, "-mindepth", "1"]).output == b""


def test_only_loopback_is_published_where_the_engine_is_on_this_host(ours: Berthed) -> None:
    assert _published_on(ours) == {"127.0.0.1"}
    assert ours.server.host == "127.0.0.1"


def test_containers_do_not_carry_the_session_of_testcontainers(ours: Berthed) -> None:
    session = "org.testcontainers.session-id"
    theirs = DockerContainer("postgres:17-alpine", command=["sleep", "60"])
    testcontainers_config.ryuk_disabled, before = True, testcontainers_config.ryuk_disabled
    try:
        with theirs:
            assert session in theirs.get_wrapped_container().labels
            assert not [label for label in ours.container().labels if "testcontainers" in label]
        assert ours.query("SELECT 1") == 1
    finally:
        theirs.get_docker_client().client.close()
        testcontainers_config.ryuk_disabled = before


def test_an_engine_over_tcp_on_this_host_publishes_on_loopback_only(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with _relay("127.0.0.1") as port:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://127.0.0.1:{port}")
        berthed = stage.start("container")
        assert _published_on(berthed) == {"127.0.0.1"}
        assert berthed.query("SELECT 1") == 1
        stage.end()


def test_an_engine_over_tcp_on_another_host_publishes_where_it_can_be_reached(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, bridge: str
) -> None:
    with _relay(bridge) as port:
        monkeypatch.setenv("DOCKER_HOST", f"tcp://{bridge}:{port}")
        berthed = stage.start("container")
        assert berthed.server.host == bridge
        assert "0.0.0.0" in _published_on(berthed)
        assert berthed.query("SELECT 1") == 1
        assert any("published on all interfaces" in line for line in berthed.notes)
        stage.end()


def test_the_host_that_testcontainers_is_told_is_used(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, bridge: str
) -> None:
    monkeypatch.setattr(testcontainers_config, "tc_host_override", bridge)
    berthed = stage.start("container")
    assert berthed.server.host == bridge
    assert berthed.query("SELECT 1") == 1


@pytest.mark.parametrize(
    "mode",
    [ConnectionMode.bridge_ip, ConnectionMode.docker_host, *nightly(ConnectionMode.gateway_ip)],
)
def test_the_connection_mode_that_testcontainers_is_told_is_used(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, bridge: str, mode: ConnectionMode
) -> None:
    monkeypatch.setattr(testcontainers_config, "connection_mode_override", mode)
    monkeypatch.setattr(testcontainers_config, "tc_host_override", bridge)
    berthed = stage.start("container")
    network = berthed.container().attrs["NetworkSettings"]["Networks"]["bridge"]
    host = network["IPAddress"] if mode is ConnectionMode.bridge_ip else network["Gateway"]
    assert berthed.server.host == host
    assert (berthed.server.port == 5432) == (mode is ConnectionMode.bridge_ip)
    # At its own address the container needs no port of the engine's host.
    published = berthed.container().attrs["NetworkSettings"]["Ports"]["5432/tcp"]
    assert (not published) == (mode is ConnectionMode.bridge_ip)
    told = any("published on all interfaces" in line for line in berthed.notes)
    assert told == (mode is not ConnectionMode.bridge_ip)
    assert berthed.query("SELECT 1") == 1


def test_the_prefix_of_testcontainers_names_the_mirror(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, client: docker.DockerClient
) -> None:
    client.images.get("postgres:17-alpine").tag("mirror.invalid/hub/postgres", "17-alpine")
    monkeypatch.setattr(testcontainers_config, "hub_image_name_prefix", "mirror.invalid/hub/")
    try:
        berthed = stage.start("container")
        assert berthed.server.detail == "mirror.invalid/hub/postgres:17-alpine"
        stage.end()
    finally:
        client.images.remove("mirror.invalid/hub/postgres:17-alpine")


def test_a_snapshot_that_another_run_removes_while_they_are_listed_is_no_error(
    client: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"postgres-{os.urandom(4).hex()}-a"
    nothing = io.BytesIO()
    tarfile.open(fileobj=nothing, mode="w").close()
    marks = f"LABEL {images.SNAPSHOT}={name} {images.MADE}={time.time()}"
    for tag, owner in ((name, user()), (f"{name}-of-others", "somebody-else")):
        nothing.seek(0)
        labels = [f"{marks} {USER}={owner}"]
        client.api.import_image_from_data(nothing.read(), images.REPOSITORY, tag, changes=labels)
    with monkeypatch.context() as patch:
        # As if all of them were gone when the engine is asked for more about one.
        patch.setattr(type(client.images), "get", Mock(side_effect=ImageNotFound("gone")))
        testcontainers_client: Any = SimpleNamespace(client=client)
        engine = Engine(testcontainers_client, on_this_host=True)
        found = [tag for image in images.snapshots(engine) for tag in image.tags]
    for tag in (name, f"{name}-of-others"):
        client.images.remove(f"{images.REPOSITORY}:{tag}")
    assert f"{images.REPOSITORY}:{name}" in found
    assert f"{images.REPOSITORY}:{name}-of-others" not in found


def test_a_container_that_the_engine_has_stopped_says_so(stage: Stage) -> None:
    berthed = stage.start("container")
    berthed.container().stop(timeout=10)
    status = berthed.source.exit_status(berthed.server)
    assert status
    assert status.startswith("the container exited with status")
    with pytest.raises(psycopg.OperationalError):
        berthed.query("SELECT 1")


def test_a_container_that_somebody_else_is_removing_is_waited_for(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    berthed = stage.start("container")
    removed = berthed.container()
    answer = SimpleNamespace(status_code=409, url="", reason="removal is already in progress")
    removing: list[Any] = [APIError("", answer)] * 2
    remove = type(removed).remove

    def remove_later(container: Any, **given: Any) -> None:
        if removing:
            raise removing.pop()
        remove(container, **given)

    monkeypatch.setattr(type(removed), "remove", remove_later)
    # The next one has its name and its port.
    berthed.source.stop(berthed.server)
    with pytest.raises(NotFound):
        removed.reload()
    berthed.source.stop(berthed.server)
    assert berthed.source.exit_status(berthed.server) == "the container was removed"


def _published_on(berthed: Berthed) -> set[str]:
    (bindings,) = berthed.container().attrs["NetworkSettings"]["Ports"].values()
    return {binding["HostIp"] for binding in bindings}


class _Relay(socketserver.BaseRequestHandler):
    """Passes bytes on to the engine's socket, and back."""

    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        with socket.socket(socket.AF_UNIX) as engine:
            engine.connect(self.server.engine)
            back = threading.Thread(target=_pass_on, args=(engine, self.request), daemon=True)
            back.start()
            _pass_on(self.request, engine)
            back.join()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    try:
        while block := source.recv(65536):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    engine: str


@contextmanager
def _relay(host: str) -> Iterator[int]:
    with _Server((host, 0), _Relay) as server, closing(docker.from_env()) as client:
        server.engine = client.api.get_adapter(client.api.base_url).socket_path
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()
