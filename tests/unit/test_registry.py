"""What the processes of a run leave for each other: the registry, exports, work done once."""

from __future__ import annotations

import dataclasses
import json
import re
import stat
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import pytest

import pytest_berth
from pytest_berth.api import Credentials, Server
from pytest_berth.cli import commands
from pytest_berth.collection.ordering import unit_modules_first
from pytest_berth.config import exports
from pytest_berth.errors import SchemaError
from pytest_berth.run import orphans, process_identity, reaper
from pytest_berth.run.once_per_run import once
from pytest_berth.run.process_identity import Process
from pytest_berth.run.registry import ImpossibleStateError, Registry, is_known
from pytest_berth.run.run import Run
from pytest_berth.sources import owned_directories

SERVER = Server("postgres", "local", "127.0.0.1", 1, Credentials("u", "p", "d"), handle={"pid": 7})


def launched(directory: Path, server: Server = SERVER) -> Registry:
    """Return a registry in which a server has been launched."""
    registry = Registry(directory)
    registry.note_planned(server)
    registry.note_launched(server)
    return registry


def test_a_server_is_read_as_it_was_noted(tmp_path: Path) -> None:
    registry = launched(tmp_path)
    registry.note_ready(SERVER)
    assert registry.read("ready", "postgres") == SERVER
    assert list(registry.all("ready")) == [SERVER]
    registry.forget(SERVER)
    assert list(tmp_path.iterdir()) == []


def test_a_server_at_another_stage_or_of_another_service_is_not_there(tmp_path: Path) -> None:
    registry = launched(tmp_path)
    assert registry.read("ready", "postgres") is None
    assert registry.read("planned", "redis") is None
    assert list(registry.all("ready")) == []


def test_a_note_holds_a_password_and_is_for_its_user_only(tmp_path: Path) -> None:
    launched(tmp_path).note_ready(SERVER)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.json")}
    assert modes == {0o600}


def test_a_note_that_is_replaced_is_never_seen_half(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.note_planned(SERVER)
    registry.note_planned(SERVER)
    assert len(list(tmp_path.iterdir())) == 1


def test_what_cannot_be_is_refused_and_not_noted(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    with pytest.raises(ImpossibleStateError, match="cannot be launched: it was never planned"):
        registry.note_launched(SERVER)
    with pytest.raises(ImpossibleStateError, match="cannot be ready: it was never launched"):
        registry.note_ready(SERVER)
    with pytest.raises(ImpossibleStateError, match="cannot be lost: it was never launched"):
        registry.note_lost(SERVER)
    assert list(tmp_path.iterdir()) == []

    launched(tmp_path).note_ready(SERVER)
    restarted = dataclasses.replace(SERVER, restarts=1)
    with pytest.raises(ImpossibleStateError, match=r"\(restart 1\) cannot be ready: .*restart 0"):
        registry.note_ready(restarted)
    with pytest.raises(ImpossibleStateError, match=r"\(restart 1\) cannot be lost"):
        registry.note_lost(restarted)
    assert registry.read("ready", "postgres") == SERVER
    assert not registry.lost(restarted).exists()


def test_a_server_is_lost_and_replaced(tmp_path: Path) -> None:
    registry = launched(tmp_path)
    registry.note_ready(SERVER)
    registry.note_lost(SERVER, "it stood still")
    registry.note_lost(SERVER)
    assert registry.lost(SERVER).read_text() == "it stood still"
    registry.forget_launched(SERVER)
    registry.note_lost(SERVER)  # another worker sees it, too
    restarted = dataclasses.replace(SERVER, restarts=1)
    registry.note_launched(restarted)
    registry.note_ready(restarted)
    assert registry.read("ready", "postgres") == restarted
    assert not registry.lost(restarted).exists()


def test_every_name_is_in_the_table(tmp_path: Path) -> None:
    registry = launched(tmp_path)
    paths = [
        *(each for each in vars(registry).values() if each != registry.directory),
        *(registry.worker("gw0"), registry.finished("gw0")),
        *(getattr(registry, name)("postgres.template-0") for name in ("lock", "done", "prebuilt")),
        *(registry.failure("redis-gw1", prestart=prestart) for prestart in (False, True)),
        *(registry.chosen_by_prestart("redis"), registry.not_reattached("redis")),
        *(registry.starting("redis"), registry.lost(SERVER)),
        *registry.directory.iterdir(),
    ]
    assert [path.name for path in paths if not is_known(path.name)] == []
    assert not is_known("precious.py")
    assert not is_known("postgres.ready")


def test_nothing_else_builds_a_path_in_a_runs_directory() -> None:
    home = Path(pytest_berth.__file__).parent
    built = re.compile(r"\brun\.directory(\s*/|\.(glob|joinpath|iterdir))")
    assert [
        f"{path.relative_to(home)}: {found.group()}"
        for path in home.rglob("*.py")
        for found in built.finditer(path.read_text())
    ] == []


@pytest.mark.parametrize(
    ("number", "is_read"), [((), True), ((2,), True), ((3,), True), ((4,), False)]
)
def test_a_directory_of_another_version_is_read_or_left_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: tuple[int, ...], is_read: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    directory = tmp_path / "berth-0123abcd-of-another"
    directory.mkdir(mode=0o700)
    owned_directories.mark(directory)
    gone = Process(2**22 + 1, "never", process_identity.machine())
    (directory / "owner.json").write_text(json.dumps([*gone, *number]))
    server = dataclasses.asdict(SERVER) | {"a_field_of_another_version": 1}
    (directory / "postgres.ready.json").write_text(json.dumps(server))

    assert [each.handle for each in orphans.directories(tmp_path)] == [directory] * is_read
    assert list(reaper._orphaned(tmp_path)) == [directory] * is_read
    assert Registry(directory).read("ready", "postgres") == SERVER
    with pytest.raises(SystemExit) if not is_read else nullcontext():
        commands.main(["sweep", str(directory)])
    assert directory.exists() is not is_read


def test_what_a_former_version_has_noted_of_a_server_is_read(tmp_path: Path) -> None:
    server = dataclasses.replace(
        SERVER, reuse_record="postgres-1", reattached=True, handle={"snapshot_file": "/data"}
    )
    fields = dataclasses.asdict(server) | {"handle": {"kept_file": "/data"}}
    for former, name in [("kept", "reuse_record"), ("adopted", "reattached")]:
        fields[former] = fields.pop(name)
    (tmp_path / "postgres.launched.json").write_text(json.dumps(fields))
    assert Registry(tmp_path).read("launched", "postgres") == server


def test_work_is_done_once_and_the_others_wait_for_it(tmp_path: Path) -> None:
    done: list[int] = []
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: once(tmp_path, "work", lambda: done.append(1)), range(8)))
    assert done == [1]


def test_work_that_failed_is_not_done_again_but_told_again(tmp_path: Path) -> None:
    attempts: list[int] = []

    def fail() -> None:
        attempts.append(1)
        raise SchemaError("it failed.", why="because", remedy="mend it")

    for _ in range(3):
        with pytest.raises(SchemaError, match=r"it failed.\n  why: because\n  do:  mend it"):
            once(tmp_path, "work", fail)
    assert attempts == [1]


def test_work_that_was_interrupted_is_done_again(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    done: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        once(tmp_path, "work", interrupt)
    once(tmp_path, "work", lambda: done.append(1))
    assert done == [1]


def test_a_run_makes_its_directory_for_its_user_only_and_when_needed() -> None:
    run = Run("0000", "main")
    assert not run.has_directory
    assert stat.S_IMODE(run.directory.stat().st_mode) == 0o700
    run.remove()
    assert not run.directory.exists()


def test_exports_need_all_of_their_values_to_be_rendered() -> None:
    export = exports.Export("URL", "{pg_host}:{pg_port}", frozenset({"pg_host", "pg_port"}), "ini")
    assert exports.render([export], {"pg_host": "h"}) == {}
    assert exports.render([export], {"pg_host": "h", "pg_port": 1}) == {"URL": "h:1"}


class Item:
    """As much of a test as its order depends on."""

    def __init__(self, name: str) -> None:
        module, _, test = name.partition("::")
        self.name, self.stash = name, pytest.Stash()
        self.location = (module, 0, test)

    def get_closest_marker(self, name: str) -> bool | None:
        """Return something where the test's name says that it is an integration test."""
        return True if name == "integration" and "pg" in self.name else None


def test_the_order_within_and_among_modules_is_kept() -> None:
    names = ["a::1", "a::pg", "b::2", "b::1", "c::pg", "a::2", "d::1"]
    items = [Item(name) for name in names]
    unit_modules_first(items, ())  # type: ignore[arg-type]
    assert [item.name for item in items] == [
        "b::2",
        "b::1",
        "d::1",
        "a::1",
        "a::pg",
        "c::pg",
        "a::2",
    ]
