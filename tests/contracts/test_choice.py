"""Which source serves, why, and what is said where none can."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler
from socketserver import UnixStreamServer
from typing import TYPE_CHECKING

import pytest
from testcontainers.core.config import testcontainers_config

from marks import nightly
from pytest_berth.errors import NoSourceError
from pytest_berth.services.postgres.service import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Project
    from tests.contracts.conftest import Berthed, Stage

    from pytest_berth.errors import BerthError
    from pytest_berth.run.server_manager import Manager

REFUSING = "tcp://127.0.0.1:1"
UNREACHABLE = ("refusing", "mute", "mute socket", "no route", "no socket", "no such host")
NONSENSE = {
    "a page": (b"<html>hello</html>", b"<html>hello</html>"),
    "nothing": (b"", b""),
    "half an answer": (b"OK", b'{"Id": '),
}
BROKEN = (
    (".docker/config.json", "[]"),
    (".docker/config.json", '{"currentContext": 5}'),
    ("DOCKER_HOST", "tcp://127.0.0.1:99999"),
)


@pytest.fixture
def mute_port() -> Iterator[int]:
    """Give a port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def mute_socket(open_place: Path) -> Iterator[Path]:
    """Give a socket that does the same."""
    path = open_place / "mute.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        yield path


@pytest.fixture(params=UNREACHABLE)
def no_engine(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    mute_port: int,
    mute_socket: Path,
    tmp_path: Path,
) -> None:
    """Point ``DOCKER_HOST`` at a place where no engine answers."""
    hosts = {
        "refusing": REFUSING,
        "mute": f"tcp://127.0.0.1:{mute_port}",
        "mute socket": f"unix://{mute_socket}",
        # Reserved for documentation: packets to it are dropped or refused.
        "no route": "tcp://198.51.100.1:2375",
        "no socket": f"unix://{tmp_path}/docker.sock",
        "no such host": "tcp://engine.invalid:2375",
    }
    monkeypatch.setenv("DOCKER_HOST", hosts[request.param])


def test_an_engine_that_does_not_answer_is_noticed_soon(stage: Stage, no_engine: None) -> None:
    began = time.monotonic()
    error = _failure(stage.manager("container"))
    # docker-py by itself would wait for a minute.
    assert time.monotonic() - began < 20
    assert "berth_source = container (pytest.ini)" in error.what
    assert "no container engine answers" in error.why
    assert "start Docker or Podman, or point DOCKER_HOST at an engine" in error.remedy
    assert "berth_source = auto" in error.remedy


@pytest.fixture(params=NONSENSE)
def no_engine_at_the_socket(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, open_place: Path
) -> Iterator[None]:
    """Point ``DOCKER_HOST`` at a socket where something else than an engine speaks HTTP."""
    to_a_ping, otherwise = NONSENSE[request.param]

    class Answering(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = to_a_ping if self.path == "/_ping" else otherwise
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n" + content)

        def address_string(self) -> str:
            return "a socket has no address"

        def log_message(self, *_: object) -> None:
            pass

    path = open_place / "engine.sock"
    with UnixStreamServer(str(path), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        yield
        server.shutdown()
        thread.join()


def test_what_is_no_engine_at_the_engine_s_socket_is_told(
    stage: Stage, no_engine_at_the_socket: None
) -> None:
    error = _failure(stage.manager("container"))
    assert "no container engine answers. (what answers is no engine: " in error.why
    assert "start Docker or Podman, or point DOCKER_HOST at an engine" in error.remedy


@pytest.fixture(params=BROKEN, ids=["list", "number", "port"])
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Say in a way that nothing understands which engine is meant."""
    name, text = request.param
    if name.startswith("."):
        file = tmp_path / name
        file.parent.mkdir()
        file.write_text(text, encoding="utf-8")
        monkeypatch.setenv("HOME", str(tmp_path))
    else:
        monkeypatch.setenv(name, text)


def test_settings_of_the_engine_s_client_that_cannot_be_read_are_told(
    stage: Stage, broken: None
) -> None:
    error = _failure(stage.manager("container"))
    assert "the container engine cannot be looked for. (its client fails at its" in error.why
    assert "see to DOCKER_HOST, and to .docker/config.json" in error.remedy
    assert "berth_source = auto" in error.remedy


def test_without_an_engine_auto_takes_a_process_and_says_why(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    monkeypatch.setenv("DOCKER_HOST", REFUSING)
    berthed = stage.start()
    assert berthed.server.source == "local"
    assert "no container engine answers" in berthed.server.reason
    assert any(berthed.server.reason in line for line in berthed.notes)


def test_the_search_for_an_engine_leaves_nothing_open(
    project: Project, tmp_path: Path, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    project.write(
        test_all="""
        import gc

        def test_server(pg_server):
            assert pg_server.source == "local"

        def test_later():
            gc.collect()
    """
    )
    nowhere = f"unix://{tmp_path}/docker.sock"
    result = project.run("-W", "error", "-v", DOCKER_HOST=nowhere)
    result.assert_outcomes(passed=2)


def test_with_an_engine_auto_takes_a_container_and_says_why(
    stage: Stage, require_source: Callable[[str], None]
) -> None:
    require_source("container")
    berthed = stage.start()
    assert berthed.server.source == "container"
    assert berthed.server.reason == "a container engine answers"


def test_with_a_url_auto_takes_that_server_and_says_why(
    stage: Stage, berthed_by_source: Callable[[str], Berthed]
) -> None:
    berthed = stage.start(berth_pg_url=berthed_by_source("external").url)
    assert berthed.server.source == "external"
    assert berthed.server.reason == "berth_pg_url is set"


def test_a_login_that_fails_is_not_taken_for_an_engine_that_does_not_answer(
    stage: Stage, require_source: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    require_source("container")
    login = base64.b64encode(b"ann:secret-word").decode()
    logins = json.dumps({"auths": {"https://localhost:1": {"auth": login}}})
    monkeypatch.setattr(testcontainers_config, "_docker_auth_config", logins)
    error = _failure(stage.manager("container"))
    assert "the login to the registry of DOCKER_AUTH_CONFIG failed." in error.why
    assert "localhost:1" in error.why
    assert "correct DOCKER_AUTH_CONFIG, or leave it out" in error.remedy
    assert "secret-word" not in str(error)


def test_without_the_image_auto_takes_a_process_and_says_why(
    stage: Stage,
    require_source: Callable[[str], None],
) -> None:
    for name in ("container", "local"):
        require_source(name)
    berthed = stage.start(berth_pg_image="registry.invalid/postgres:17")
    assert berthed.server.source == "local"
    reason = "the image registry.invalid/postgres:17 is not present and could not be pulled"
    assert reason in berthed.server.reason


def test_an_image_that_cannot_be_pulled_is_an_error_when_a_container_is_asked_for(
    stage: Stage, require_source: Callable[[str], None]
) -> None:
    require_source("container")
    error = _failure(stage.manager("container", berth_pg_image="registry.invalid/postgres:17"))
    assert "the image registry.invalid/postgres:17 is not present" in error.why
    assert "registry.invalid" in error.why.split("(", 1)[1]
    assert "docker pull registry.invalid/postgres:17" in error.remedy


def test_an_image_with_an_impossible_name_is_an_error(
    stage: Stage, require_source: Callable[[str], None]
) -> None:
    require_source("container")
    error = _failure(stage.manager("container", berth_pg_image="Post Gres"))
    assert "the image Post Gres is not present" in error.why


def test_where_nothing_can_serve_each_source_says_why_and_what_would_mend_it(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_HOST", REFUSING)
    error = _failure(stage.manager(berth_pg_version="99"))
    assert error.what == "no source can serve postgres."
    why, remedy = error.why.splitlines(), error.remedy
    for source in ("external", "container", "local"):
        assert [line for line in why if line.startswith(f"{source}: ")]
        assert f"{source}: " in remedy
    assert "berth_pg_url is not set" in error.why
    assert "no container engine answers" in error.why
    assert "there are no binaries of PostgreSQL 99" in error.why
    assert "set berth_pg_url: use a URL such as postgresql://" in remedy
    assert "DOCKER_HOST" in remedy
    assert "install PostgreSQL 99" in remedy


def test_a_process_asked_for_by_name_is_never_replaced(
    stage: Stage, require_source: Callable[[str], None]
) -> None:
    require_source("container")
    error = _failure(stage.manager("local", berth_pg_version="99"))
    assert "berth_source = local (pytest.ini)" in error.what


def test_an_external_server_asked_for_by_name_is_never_replaced(stage: Stage) -> None:
    error = _failure(stage.manager("external"))
    assert "berth_source = external (pytest.ini)" in error.what
    assert "berth_pg_url is not set" in error.why


def test_the_source_of_one_service_goes_before_the_source_of_all(
    stage: Stage, require_source: Callable[[str], None]
) -> None:
    require_source("local")
    berthed = stage.start("container", berth_pg_source="local")
    assert berthed.server.source == "local"
    assert berthed.server.reason == "berth_pg_source = local (pytest.ini)"


@pytest.mark.parametrize("starting", ["container", *nightly("local")], indirect=True)
def test_another_major_version_is_served(starting: str, stage: Stage) -> None:
    berthed = stage.start(starting, berth_pg_version="15")
    assert berthed.server.version.startswith("15.")
    assert berthed.query("SHOW fsync") == "off"
    assert berthed.query("SHOW server_encoding") == "UTF8"


def test_another_image_is_served(stage: Stage, require_source: Callable[[str], None]) -> None:
    require_source("container")
    berthed = stage.start(berth_pg_image="postgres:15-alpine")
    assert berthed.server.detail == "postgres:15-alpine"
    assert berthed.server.version.startswith("15.")


def _failure(manager: Manager) -> BerthError:
    with pytest.raises(NoSourceError) as caught:
        manager.server(POSTGRES)
    return caught.value
