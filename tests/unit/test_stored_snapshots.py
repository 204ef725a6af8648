"""Snapshots as directories of the user's cache."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import pytest

from pytest_berth.cli import commands, prune_cache
from pytest_berth.sources.container_engine import EngineUnreachableError
from pytest_berth.sources.snapshots import MOST, UNUSED, StoredSnapshot


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BERTH_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "data"
    _fill(path, "first")
    return path


def _last_used(name: str, *, seconds_ago: float) -> None:
    then = time.time() - seconds_ago
    os.utime(StoredSnapshot(name).path, (then, then))


def _fill(path: Path, text: str) -> None:
    path.mkdir()
    (path / "PG_VERSION").write_text(text)


def test_what_was_kept_comes_back(data: Path, tmp_path: Path) -> None:
    StoredSnapshot("postgres-shop-a").store(data)

    assert StoredSnapshot("postgres-shop-a").restore(tmp_path / "again")
    assert (tmp_path / "again" / "PG_VERSION").read_text() == "first"
    assert not data.exists()


def test_another_name_has_another_snapshot(data: Path, tmp_path: Path) -> None:
    StoredSnapshot("postgres-shop-a").store(data)

    assert not StoredSnapshot("postgres-shop-b").restore(tmp_path / "again")


def test_a_later_snapshot_takes_the_place_of_an_earlier_one(data: Path, tmp_path: Path) -> None:
    StoredSnapshot("postgres-shop-a").store(data)
    _fill(data, "second")
    StoredSnapshot("postgres-shop-a").store(data)

    StoredSnapshot("postgres-shop-a").restore(tmp_path / "again")

    assert (tmp_path / "again" / "PG_VERSION").read_text() == "second"


def test_what_a_project_has_not_used_for_longest_goes(data: Path, tmp_path: Path) -> None:
    StoredSnapshot("postgres-other-x").store(data)
    for number in range(MOST + 1):
        _fill(data, str(number))
        StoredSnapshot(f"postgres-shop-{number}").store(data)
        _last_used(f"postgres-shop-{number}", seconds_ago=1000 - number)
    assert StoredSnapshot("postgres-shop-1").restore(tmp_path / "used again")
    _fill(data, "new")

    StoredSnapshot("postgres-shop-new").store(data)

    there = {path.name for path in StoredSnapshot("any").path.parent.iterdir() if path.is_dir()}
    assert there == {
        "postgres-other-x",
        "postgres-shop-1",
        f"postgres-shop-{MOST}",
        "postgres-shop-new",
    }


def test_what_no_project_has_used_for_a_month_goes(data: Path) -> None:
    StoredSnapshot("postgres-forgotten-x").store(data)
    _last_used("postgres-forgotten-x", seconds_ago=UNUSED + 1)
    _fill(data, "new")

    StoredSnapshot("postgres-shop-new").store(data)

    assert not StoredSnapshot("postgres-forgotten-x").path.exists()


def test_prune_forgets_the_snapshots_of_all_projects(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prune_cache, "connect", _no_engine)
    StoredSnapshot("postgres-shop-a").store(data)

    commands.main(["prune", "--snapshots"])

    assert not StoredSnapshot("postgres-shop-a").path.exists()
    assert "postgres-shop-a" in capsys.readouterr().out


def test_prune_spares_what_was_used_lately_and_lists_only_where_it_is_asked_to(
    data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(prune_cache, "connect", _no_engine)
    StoredSnapshot("postgres-shop-a").store(data)
    _fill(data, "new")
    StoredSnapshot("postgres-shop-b").store(data)
    _last_used("postgres-shop-a", seconds_ago=7300)

    commands.main(["prune", "--snapshots", "--older-than", "2h", "--dry-run"])
    listed = capsys.readouterr().out
    both = StoredSnapshot("postgres-shop-a").path, StoredSnapshot("postgres-shop-b").path
    assert [path.exists() for path in both] == [True, True]
    commands.main(["prune", "--snapshots", "--older-than", "2h"])

    assert listed == capsys.readouterr().out
    assert listed.startswith(f"snapshot  {both[0]}  ")
    assert listed.endswith(" bytes, 2 hours old\n")
    assert listed.count("\n") == 1
    assert [path.exists() for path in both] == [False, True]


def _no_engine() -> None:
    raise EngineUnreachableError("none")


def test_data_of_another_file_system_keeps_its_owner(data: Path, tmp_path: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev or os.getuid():
        pytest.skip("it takes another file system, and root's right to give files away")
    with tempfile.TemporaryDirectory(dir=memory) as name:
        elsewhere = Path(name, "data")
        _fill(elsewhere, "elsewhere")
        os.chown(elsewhere / "PG_VERSION", 65534, 65534)

        StoredSnapshot("postgres-shop-a").store(elsewhere)

    assert (StoredSnapshot("postgres-shop-a").path / "PG_VERSION").stat().st_uid == 65534
