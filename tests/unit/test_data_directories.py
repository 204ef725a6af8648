"""Where local servers have their files."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_berth.config.options import OPTIONS, defaults
from pytest_berth.sources import data_directories, owned_directories
from pytest_berth.sources.local import Local

GIGABYTE = 1 << 30


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory in the place of the machine's memory, of which there is plenty."""
    directory = tmp_path / "memory"
    directory.mkdir()
    monkeypatch.setattr(data_directories, "MEMORY", directory)
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.delenv(name, raising=False)
    give(monkeypatch, room=GIGABYTE, available=2 * GIGABYTE)
    return directory


def give(monkeypatch: pytest.MonkeyPatch, *, room: int, available: int) -> None:
    """Pretend that there is so much room in the directory, and so much memory."""
    free = SimpleNamespace(f_bavail=room // 4096, f_frsize=4096)
    monkeypatch.setattr(os, "statvfs", lambda _: free)
    monkeypatch.setattr("psutil.virtual_memory", lambda: SimpleNamespace(available=available))


def test_memory_is_taken_where_there_is_plenty(memory: Path) -> None:
    assert data_directories.choose() == memory


@pytest.mark.parametrize(
    ("room", "available"), [(GIGABYTE - 4096, 8 * GIGABYTE), (GIGABYTE, 2 * GIGABYTE - 1)]
)
def test_where_memory_is_scarce_the_disk_is_taken(
    monkeypatch: pytest.MonkeyPatch, room: int, available: int
) -> None:
    give(monkeypatch, room=room, available=available)
    assert data_directories.choose() == Path(tempfile.gettempdir())


def test_a_directory_that_the_user_has_named_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    assert data_directories.choose() == Path(tempfile.gettempdir())


def test_where_there_is_no_such_directory_the_disk_is_taken(memory: Path) -> None:
    memory.rmdir()
    assert data_directories.choose() == Path(tempfile.gettempdir())


def test_what_a_run_has_left_is_swept_in_both(
    memory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = tmp_path / "disk"
    monkeypatch.setattr(tempfile, "tempdir", str(disk))
    for place in (memory, disk):
        for run in ("0123abcd", "another0"):
            directory = place / f"berth-server-{run}-redis.x"
            directory.mkdir(parents=True)
            owned_directories.mark(directory)
    Local(defaults(tmp_path, OPTIONS), "0123abcd").sweep()
    left = [path.name for place in (memory, disk) for path in place.iterdir()]
    assert left == ["berth-server-another0-redis.x"] * 2
