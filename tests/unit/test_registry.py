"""What the processes of a run leave for each other: the registry, exports, work done once."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pytest_berth.api import Credentials, Server
from pytest_berth.collection.ordering import unit_modules_first
from pytest_berth.config import exports
from pytest_berth.errors import SchemaError
from pytest_berth.run.once_per_run import once
from pytest_berth.run.registry import Registry
from pytest_berth.run.run import Run

if TYPE_CHECKING:
    from pathlib import Path

SERVER = Server("postgres", "local", "127.0.0.1", 1, Credentials("u", "p", "d"), handle={"pid": 7})


def test_a_lease_is_read_as_it_was_written(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.write("ready", SERVER)
    assert registry.read("ready", "postgres") == SERVER
    assert list(registry.all("ready")) == [SERVER]


def test_a_lease_of_another_stage_or_service_is_not_there(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.write("planned", SERVER)
    assert registry.read("ready", "postgres") is None
    assert registry.read("planned", "redis") is None
    assert list(registry.all("ready")) == []


def test_a_lease_holds_a_password_and_is_for_its_user_only(tmp_path: Path) -> None:
    Registry(tmp_path).write("ready", SERVER)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.glob("*.json")}
    assert modes == {0o600}


def test_a_lease_that_is_replaced_is_never_seen_half(tmp_path: Path) -> None:
    registry = Registry(tmp_path)
    registry.write("ready", SERVER)
    registry.write("ready", SERVER)
    assert len(list(tmp_path.iterdir())) == 1


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
        self.name = name
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
