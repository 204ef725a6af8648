"""Each command where something is wrong: nothing to find, a broken file, no engine, no room."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conftest import TIMEOUT
from pytest_berth import wait_for
from pytest_berth.cli import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NONE_UP = "no development servers are up for this project."
UNREADABLE = "the project's settings cannot be read."


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to work in, no engine, and a temporary directory of nobody else's."""
    for name in [each for each in os.environ if each.startswith("BERTH_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    temporary, here = tmp_path / "tmp", tmp_path / "here"
    temporary.mkdir()
    here.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setenv("BERTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(here)
    return here


def refused(words: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Run a command that fails, and return what it tells."""
    before, dashes, behind = words.partition(" -- ")
    with pytest.raises(SystemExit) as ended:
        commands.main([*before.split(), *(["--", *behind.split()] if dashes else [])])
    told = capsys.readouterr().err
    assert ended.value.code == 1, told
    assert told.startswith("berth: ")
    assert "  do:  " in told
    return told


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ("up", "no service is asked for."),
        ("run -- python --version", "no service is asked for."),
        ("down", NONE_UP),
        ("url postgres", NONE_UP),
        ("env", NONE_UP),
        ("shell postgres", NONE_UP),
        ("logs postgres", NONE_UP),
        ("reset", NONE_UP),
        ("seed demo.sql", NONE_UP),
        ("install postgres:no-such-version", "berth_pg_version"),
    ],
)
def test_in_an_empty_directory(
    words: str, what: str, empty: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert what in refused(words, capsys)
    assert list(empty.iterdir()) == []


@pytest.mark.parametrize(
    "words",
    [
        *("up", "run -- python --version", "down", "url postgres", "env", "shell postgres"),
        *("logs postgres", "reset", "seed demo.sql", "install"),
    ],
)
def test_with_a_broken_file(words: str, empty: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (empty / "pytest.ini").write_text("[pytest]\nno line of an ini file\n")
    told = refused(words, capsys)
    assert UNREADABLE in told
    assert "pytest.ini" in told


@pytest.mark.parametrize("words", ["up redis", "run redis -- python --version", "install redis"])
def test_without_an_engine(
    words: str,
    empty: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BERTH_SOURCE", "container")
    told = refused(words, capsys)
    assert "redis" in told
    assert "engine" in told
    wait_for(lambda: not left_in(Path(tempfile.gettempdir())), 60, message="nothing left")


def left_in(place: Path) -> list[Path]:
    """Return the directories of runs."""
    return list(place.glob("berth-*/owner.json"))


def test_beside_a_foreign_server_at_its_port(
    empty: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    require_source: Callable[[str], None],
) -> None:
    require_source("local")
    with socket.create_server(("127.0.0.1", 0)) as foreign:
        port = str(foreign.getsockname()[1])
        monkeypatch.setenv("BERTH_SOURCE", "local")
        monkeypatch.delenv("BERTH_CACHE")
        monkeypatch.setenv("BERTH_PG_PORT", port)
        told = refused("up postgres", capsys)
        assert port in told
        assert "berth_pg_port" in told
        # It is there as before.
        with socket.create_connection(foreign.getsockname(), 5):
            foreign.accept()[0].close()
    wait_for(lambda: not left_in(Path(tempfile.gettempdir())), 60, message="nothing left")


@pytest.fixture
def full() -> Iterator[Path]:
    """A file system of its own with next to no room."""
    place = Path(tempfile.mkdtemp(prefix="full-"))
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,mode=1777", "tmpfs", str(place)]
    mounted = (
        shutil.which("mount")
        and not subprocess.run(command, capture_output=True, check=False).returncode
    )
    try:
        if not mounted:
            pytest.skip("a small file system cannot be mounted here")
        (place / "filler").write_bytes(b"0" * 900_000)
        yield place
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=False)
        place.rmdir()


def test_without_room(full: Path, tmp_path: Path, require_source: Callable[[str], None]) -> None:
    require_source("local")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "pytest_berth.cli", *words],
            cwd=tmp_path,
            env={**os.environ, "TMPDIR": str(full), "BERTH_SOURCE": "local"},
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    up = run("up", "postgres")
    assert up.returncode == 1, up.stdout
    assert "Traceback" not in up.stderr
    assert "No space left on device" in up.stderr
    doctor = run("doctor", "postgres")
    assert doctor.returncode == 2, doctor.stdout
    assert f"GB free in {full}" in doctor.stdout
    assert "make room there" in doctor.stdout
    wait_for(lambda: not left_in(full), 60, message="nothing left")
