"""Users without a home, as in containers that run under a number only, or whose home is closed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_berth.errors import ArtifactError
from pytest_berth.sources import artifact_cache, container_engine, engine_socket, socket_engine

if TYPE_CHECKING:
    from pathlib import Path

CLOSED = f"/{'x' * 300}"  # as one that may not be entered, it cannot be looked at


@pytest.fixture(params=["none", "closed"])
def home(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    for name in ("XDG_CACHE_HOME", "BERTH_CACHE", "HOME"):
        monkeypatch.delenv(name, raising=False)
    kind = str(request.param)
    if kind == "closed":
        monkeypatch.setenv("HOME", CLOSED)
    else:
        pwd = pytest.importorskip("pwd")

        def unknown(uid: int) -> None:
            raise KeyError(uid)

        monkeypatch.setattr(pwd, "getpwuid", unknown)
    monkeypatch.setattr(artifact_cache, "is_root", lambda: False)
    monkeypatch.chdir(tmp_path)
    return kind


def test_an_engine_at_a_socket_needs_no_home(
    home: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}")
    assert engine_socket.socket_path() == str(tmp_path)
    assert container_engine.image_name("redis:8") == "redis:8"
    assert socket_engine.place() in {str(tmp_path), None}  # where testcontainers is loaded


def test_a_cache_without_a_place_is_told(home: str) -> None:
    if home == "closed":
        assert str(artifact_cache.cache_directory()).startswith(CLOSED)
        return
    with pytest.raises(ArtifactError, match=r"there is no place for the cache\.") as error:
        artifact_cache.cache_directory()
    assert error.value.remedy == "set BERTH_CACHE=<directory>"


def test_no_cache_is_made_up_in_the_working_directory(
    home: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    platformdirs = pytest.importorskip("platformdirs")
    monkeypatch.setattr(
        platformdirs, "user_cache_path", lambda *_, **__: type(tmp_path)("~/.cache/pytest-berth")
    )
    with pytest.raises(ArtifactError, match=r"there is no place for the cache\."):
        artifact_cache.cache_directory()


def test_a_cache_in_a_directory_that_cannot_be_looked_at_is_no_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BERTH_CACHE", f"{CLOSED}/cache")
    assert str(artifact_cache.cache_directory()) == f"{CLOSED}/cache"
