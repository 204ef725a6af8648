"""What is known of kept servers, and who may end them."""

from __future__ import annotations

import json
import shutil
import stat
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from filelock import Timeout

from pytest_berth import cli
from pytest_berth.lifecycle import janitor, process
from pytest_berth.lifecycle.keeping import keeper, records
from pytest_berth.lifecycle.keeping.records import Record, Records
from pytest_berth.lifecycle.run import OWNER
from pytest_berth.service import Credentials, Server
from pytest_berth.settings import duration

GONE = {"pid": 0, "created": 0.0, "directory": "", "signal": "SIGTERM"}
SERVER = Server("redis", "local", "127.0.0.1", 1, Credentials("", "secret", "0"))


@pytest.fixture
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Records:
    """The records of a user whose temporary directory is a new one."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return records.of_user()


@pytest.fixture
def record(there: Records, tmp_path: Path) -> Record:
    """The record of a server whose time is over, and whose process is gone."""
    data = tmp_path / "data"
    data.mkdir()
    server = replace(SERVER, handle={**GONE, "directory": str(data)})
    made = Record("redis-1", server, ("setting a=1",), str(tmp_path), "", 60.0, time.time() - 1)
    there.write(made)
    return made


def used(record: Record, directory: Path) -> Record:
    """Return the record of a server that this very process uses."""
    directory.mkdir()
    process.write(directory / OWNER, process.this_process())
    return replace(record, user=str(directory))


@pytest.mark.parametrize(
    ("text", "seconds"), [("15m", 900), ("90s", 90), ("1.5h", 5400), ("2 d", 172800), ("30", 30)]
)
def test_a_duration_has_a_unit_or_is_in_seconds(text: str, seconds: int) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["15x", "m", "", "-1m", "1m30s", "inf", f"{10**20}d"])
def test_what_is_no_duration_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match="15m"):
        duration(text)


def test_a_record_is_read_as_it_was_written_and_by_its_user_alone(
    there: Records, record: Record
) -> None:
    (path,) = there.directory.glob("*.json")

    assert there.all() == [record]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(there.directory.stat().st_mode) == 0o700


def test_a_directory_that_others_can_read_holds_no_passwords(there: Records) -> None:
    there.directory.chmod(0o755)

    with pytest.raises(PermissionError, match="not a directory of this user alone"):
        records.of_user()


def test_what_somebody_has_planted_is_not_looked_at(
    there: Records, record: Record, tmp_path: Path
) -> None:
    planted = there.directory.rename(tmp_path / "planted")
    there.directory.symlink_to(planted)

    assert records.all_of_user() == []
    assert not cli.end(there.directory, record.name, early=True)
    with pytest.raises(PermissionError):
        records.of_user()
    assert Records(planted).all() == [record]


def test_another_boot_or_another_image_is_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    first = records.name("redis", Path("/shop"), "image-1")
    assert records.name("redis", Path("/shop"), "image-2") != first
    monkeypatch.setattr(process, "machine", lambda: "other-boot pid:[1]")
    assert records.name("redis", Path("/shop"), "image-1") != first


def test_the_servers_of_an_earlier_boot_are_over(record: Record) -> None:
    lasting = replace(record, ends=time.time() + 60)

    assert not lasting.is_over
    assert replace(lasting, machine="other-boot pid:[1]").is_over
    # It may be another machine's that shares the directory.
    assert not replace(lasting, machine="other-boot pid:[1]", node="elsewhere").is_over


def test_a_server_is_in_use_as_long_as_its_run_lives(record: Record, tmp_path: Path) -> None:
    by_us = used(record, tmp_path / "berth-0000-run")

    assert by_us.is_used
    (tmp_path / "berth-0000-run" / OWNER).write_text(json.dumps([1, "long ago", process.machine()]))
    assert not by_us.is_used
    assert not replace(record, user=str(tmp_path / "berth-0001-gone")).is_used


def test_only_what_is_over_and_not_in_use_is_ended(
    there: Records, record: Record, tmp_path: Path
) -> None:
    there.write(used(record, tmp_path / "berth-0000-run"))
    assert not cli.end(there.directory, record.name, early=True)

    there.write(replace(record, ends=time.time() + 60))
    assert not cli.end(there.directory, record.name, early=False)

    there.write(record)
    with there.lock(record.name), pytest.MonkeyPatch.context() as patch:
        patch.setattr("pytest_berth.lifecycle.keeping.ending._LOCKED_WITHIN", 0)
        assert not cli.end(there.directory, record.name, early=True)
    assert there.all() == [record]

    assert cli.end(there.directory, record.name, early=False)
    assert there.all() == []
    assert not (tmp_path / "data").exists()


def test_ps_shows_what_is_kept_and_prune_ends_what_is_over_or_named(
    there: Records,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli.abandoned, "containers", lambda _: [])
    monkeypatch.setattr(cli, "connect", lambda: None)
    lasting = replace(record, ends=time.time() + 600)
    there.write(lasting)

    cli.main(["prune", "--yes"])
    assert there.all() == [lasting]
    cli.main(["ps"])
    assert "redis-1  kept     redis , local, at 127.0.0.1:1  " in (told := capsys.readouterr().out)
    assert "10 min left" in told

    cli.main(["prune", "redis-1"])
    assert there.all() == []


def test_a_keeper_ends_what_is_over_and_then_itself(there: Records, record: Record) -> None:
    keeper.Keeper(there).run()

    assert there.all() == []
    with there.lock(keeper.KEEPER):
        pass


def test_a_keeper_whose_directory_was_removed_makes_none(
    there: Records, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "end_apart", lambda *_, early: shutil.rmtree(there.directory))

    keeper.Keeper(there).run()

    assert not there.directory.exists()


def test_there_is_one_keeper(there: Records, record: Record) -> None:
    with there.lock(keeper.KEEPER), pytest.raises(Timeout):
        keeper.Keeper(there).run()

    assert there.all() == [record]


def test_the_janitor_of_any_run_starts_a_keeper_where_one_is_missing(
    there: Records, record: Record
) -> None:
    place = there.directory.parent
    assert list(janitor._unguarded(place)) == [there.directory]
    with there.lock(keeper.KEEPER):
        assert list(janitor._unguarded(place)) == []

    there.remove(record)
    assert list(janitor._unguarded(place)) == []
