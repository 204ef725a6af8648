"""What is removed, and what only looks like berth's: directories of a person's stay as they are."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

import pytest

from pytest_berth.cli import commands
from pytest_berth.run import heartbeat, orphans, process_identity, reaper, registry
from pytest_berth.run.process_identity import Process
from pytest_berth.run.registry import OWNER, Registry
from pytest_berth.run.run import Run
from pytest_berth.sources import local, owned_directories, shared_memory, snapshots
from pytest_berth.sources.artifact_cache import stranger
from pytest_berth.sources.local import Local
from pytest_berth.sources.snapshots import StoredSnapshot

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Any

DEAD = Process(2**22 + 1, "never", process_identity.machine())
RUN_ID = "0123abcd"


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary directory, which is a link, as macOS' is."""
    real, link = tmp_path / "real", tmp_path / "link"
    real.mkdir()
    link.symlink_to(real)
    monkeypatch.setattr("tempfile.tempdir", str(link))
    return link


@pytest.fixture
def dead(place: Path) -> Path:
    """The directory of a run that has ended."""
    run = Run(RUN_ID, "main")
    directory = run.directory
    (directory / OWNER).unlink()
    os.close(process_identity.write(directory / OWNER, DEAD))
    return directory


def persons(directory: Path) -> Path:
    """Make a directory of a person's."""
    directory.mkdir(parents=True)
    (directory / "precious.py").write_text("precious")
    return directory


def hostile(place: Path, dead: Path, elsewhere: Path) -> list[Path]:
    """Return directories that look like a dead run's, and are none."""
    named = persons(place / "berth-4567cdef-project")
    os.close(process_identity.write(named / OWNER, DEAD))
    with_copy = persons(place / "berth-89abcdef-project")
    copied = elsewhere / dead.name
    moved = elsewhere / "berth-moved-project"
    for each in (with_copy, copied, moved):
        each.mkdir(parents=True, exist_ok=True)
        for name in (OWNER, owned_directories.RECORD):
            shutil.copy(dead / name, each / name)
        (each / "precious.py").write_text("precious")
    link = place / "berth-fedcba98-link"
    link.symlink_to(with_copy)
    return [persons(elsewhere / "my-project"), named, with_copy, copied, moved, link]


def test_sweep_removes_a_dead_run_and_nothing_that_only_looks_like_one(
    place: Path, dead: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alike = hostile(place, dead, tmp_path / "elsewhere")
    assert list(reaper._orphaned(place)) == [dead]
    assert [each.handle for each in orphans.directories(place)] == [dead]

    with pytest.raises(SystemExit) as ended:
        commands.main(["sweep", *map(str, [*alike, dead])])

    assert ended.value.code == 1
    assert [each for each in alike if not (each / "precious.py").exists()] == []
    assert not dead.exists()
    told = capsys.readouterr().err
    assert f"{alike[0]}: nothing was removed: it is not the directory of a run" in told


@pytest.mark.parametrize("step", [(owned_directories, "mark"), (process_identity, "write")])
def test_a_directory_that_cannot_be_finished_goes_at_once(
    step: tuple[object, str], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(*step, interrupted)
    with pytest.raises(KeyboardInterrupt):
        _ = Run(RUN_ID, "main").directory
    assert list(place.iterdir()) == []


def test_what_a_run_has_left_that_was_killed_as_it_made_its_directory_goes_after_an_hour(
    place: Path, dead: Path
) -> None:
    made = registry.make_directory("4567cdef")
    mine = persons(place / "berth-89abcdef-project")
    owned_directories.mark(mine)
    for_server = owned_directories.make("berth-server-0123abcd-redis.")
    hours_ago = time.time() - 2 * heartbeat._OTHER_MACHINE
    for each in (mine, for_server, dead):
        os.utime(each / owned_directories.RECORD, (hours_ago, hours_ago))
    assert list(reaper._unfinished(place)) == [], "its run may be about to say who it is"

    os.utime(made / owned_directories.RECORD, (hours_ago, hours_ago))
    assert list(reaper._unfinished(place)) == [made]


def test_a_run_that_ends_while_another_one_looks_at_it_is_passed_over(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the reaper that looks would end, and leave its own run without one."""

    def ends(directory: Path, prefix: str) -> bool:
        shutil.rmtree(directory)
        return True

    registry.make_directory("4567cdef")
    monkeypatch.setattr(owned_directories, "is_ours", ends)
    assert list(registry.without_owner(place)) == []


def test_what_could_not_be_removed_is_tried_again_after_an_hour(place: Path, dead: Path) -> None:
    put_off = Registry(dead).put_off
    put_off.write_text("gone\n" * 2)
    assert list(reaper._orphaned(place)) == [dead], "a moment later it may be there"
    put_off.write_text("gone\n" * 3)
    assert list(reaper._orphaned(place)) == []
    for moved in (-reaper._TRY_AGAIN_AFTER, reaper._TRY_AGAIN_AFTER):
        at = time.time() + moved
        os.utime(put_off, (at, at))
        assert list(reaper._orphaned(place)) == [dead]


def test_sweep_leaves_a_run_alone_that_is_alive(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    alive = Run(RUN_ID, "main")
    with pytest.raises(SystemExit):
        commands.main(["sweep", str(alive.directory)])
    assert alive.directory.exists()
    assert "its run is alive" in capsys.readouterr().err
    alive.remove()
    assert not alive.directory.exists()


def test_only_directories_that_berth_has_made_for_a_server_go_with_it(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing: Any = None
    source = Local(nothing, RUN_ID)
    ours = place / f"berth-server-{RUN_ID}-postgres.abcd"
    ours.mkdir()
    owned_directories.mark(ours)
    without = persons(place / f"berth-server-{RUN_ID}-postgres.mine")
    link = place / f"berth-server-{RUN_ID}-postgres.link"
    link.symlink_to(without)
    released: list[Path] = []
    monkeypatch.setattr(shared_memory, "release", released.append)
    server: Any = type("Server", (), {"handle": {"pid": 0, "created": 0.0, "signal": "SIGTERM"}})
    for each in (without, link):
        server.handle["directory"] = str(each)
        source.stop(server)
    source.sweep()
    assert released == [ours], "what stands in another one's postmaster.pid is not believed"
    assert not ours.exists()
    assert (without / "precious.py").exists()


def test_where_a_process_works_is_compared_without_links(place: Path) -> None:
    assert local._is_below(str((place / "data").resolve()), place)
    assert local._is_below(str(place / "data"), place)
    assert not local._is_below("/", place)


def test_snapshots_are_removed_and_nothing_else_in_a_cache_that_is_a_persons_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTH_CACHE", str(tmp_path))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    long_ago = 1.0
    mine = [persons(tmp_path / "snapshots" / name) for name in ("2024", "redis-0123-abc")]
    for each in mine:
        os.utime(each, (long_ago, long_ago))
    StoredSnapshot("redis-0123-def").write(b"content")
    assert StoredSnapshot("redis-0123-def").read() == b"content"
    assert StoredSnapshot("redis-0123-abc").read() is None
    assert [each.name for each in snapshots.directories()] == ["redis-0123-def"]
    commands.main(["prune", "--snapshots"])
    assert StoredSnapshot("redis-0123-def").read() is None
    assert all((each / "precious.py").exists() for each in mine)


def test_what_others_can_change_in_a_cache_is_told(tmp_path: Path) -> None:
    cache = persons(tmp_path / "cache")
    assert stranger(cache) == ""
    cache.chmod(0o777)
    assert stranger(cache) == f"others may write to {cache}"
    cache.chmod(0o755)
    below = persons(cache / "artifact")
    cache.chmod(0o777)
    assert stranger(below) == f"others may write to {cache}"
    cache.chmod(0o1777)
    assert stranger(below) == "", "in a sticky directory nobody exchanges what is ours"


def test_what_is_written_while_a_directory_is_removed_goes_as_well(
    dead: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    removed: list[Path] = []
    unlink = type(dead).unlink

    def unlink_and_write(path: Path, *arguments: Any) -> None:
        unlink(path, *arguments)
        removed.append(path)
        if len(removed) == 1:
            (dead / "late").touch()

    Registry(dead).heartbeat.touch()
    monkeypatch.setattr(type(dead), "unlink", unlink_and_write)
    owned_directories.remove(dead)
    assert not dead.exists()


def test_a_run_that_has_ended_has_no_heartbeat(dead: Path) -> None:
    (dead / OWNER).unlink()
    heartbeat.beat(dead)
    assert not Registry(dead).heartbeat.exists()
