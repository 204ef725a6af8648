"""``pytest-berth prune``: by kind and by age, with sizes, and only what is provably berth's."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from pytest_berth.api import Credentials, Server
from pytest_berth.cli import commands, parts
from pytest_berth.config.options import duration
from pytest_berth.run import process_identity
from pytest_berth.run.registry import make_directory
from pytest_berth.run.reuse import records
from pytest_berth.run.reuse.records import Record
from pytest_berth.sources import artifacts, owned_directories
from pytest_berth.sources.artifacts import Artifact
from pytest_berth.sources.snapshots import StoredSnapshot

if TYPE_CHECKING:
    from pathlib import Path

DAY = 86400.0
JAR = b"12345"


class Cache:
    """A cache with a download, in a repository of which there is more to be had."""

    def __init__(self, place: Path) -> None:
        self.path = place / "cache"
        self._repository = place / "repository"

    def fetch(self, name: str) -> Path:
        """Have an artifact of one file, as a start of its server does."""
        artifact = Artifact(f"org.example:{name}:1.2", hashlib.sha256(JAR).hexdigest(), len(JAR))
        jar = self._repository / artifact.path
        jar.parent.mkdir(parents=True, exist_ok=True)
        jar.write_bytes(JAR)

        def unpack(jar: Path, tree: Path) -> None:
            (tree / "program").write_bytes(jar.read_bytes())

        mirror, progress = self._repository.as_uri(), parts.Silent()
        return artifacts.fetch(artifact, unpack, cache=self.path, mirror=mirror, progress=progress)

    def let_age(self, path: Path, days: float) -> None:
        """Have nobody used it for so long."""
        then = time.time() - days * DAY
        for each in (path / owned_directories.RECORD, path):
            os.utime(each, (then, then))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    """Nothing but this test's own: a cache, a temporary directory, and no engine."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setenv("BERTH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:1")
    return Cache(tmp_path)


def test_downloads_go_by_age_and_what_is_not_provably_ours_stays(
    cache: Cache, capsys: pytest.CaptureFixture[str]
) -> None:
    old, used, new = (cache.fetch(name) for name in ("old", "used", "new"))
    for each in (old, used):
        cache.let_age(each, 40)
    assert cache.fetch("used") == used
    former, mine = cache.path / "former-1.2-0123", cache.path / "mine"
    for each in (former, mine):
        each.mkdir()
        (each / "precious").touch()
    former.with_name(f"{former.name}.lock").touch()
    ask = ("prune", "--downloads", "--older-than", "30 days")

    commands.main([*ask, "--dry-run"])
    listed = capsys.readouterr()
    assert old.exists()
    commands.main(ask)

    told = capsys.readouterr()
    assert told.out == listed.out
    size = len(JAR) + len((new / owned_directories.RECORD).read_bytes())  # names are as long
    assert told.out == f"download  {old}  {size} bytes, 40 days old\n"
    assert f"1 would be removed, {size} bytes" in listed.err
    assert f"1 removed, {size} bytes" in told.err
    assert f"1 in {cache.path} stay: nothing proves that berth has made them" in told.err
    assert [each.exists() for each in (old, used, new, former, mine)] == [False, *[True] * 4]
    assert cache.fetch("old") == old, "what has gone is fetched again"


def test_what_a_process_runs_from_stays_unless_somebody_says_so(
    cache: Cache, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = cache.fetch("used")
    words = [sys.executable, "-c", "input()", str(path / "program")]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as process:
        commands.main(["prune", "--downloads"])
        told = capsys.readouterr().err
        assert f"stays: the process {process.pid} runs from it; --yes removes it" in told
        assert path.exists()

        monkeypatch.setattr("sys.stdin", SimpleNamespace(isatty=lambda: True))
        questions: list[str] = []

        def answer(question: str) -> str:
            questions.append(question)
            return "n"

        monkeypatch.setattr("builtins.input", answer)
        commands.main(["prune", "--downloads"])
        assert path.exists()
        assert questions == [f"  the process {process.pid} runs from it. Remove it? [y/N] "]

        commands.main(["prune", "--downloads", "--yes"])
        assert not path.exists()
        assert process.stdin is not None
        process.stdin.write(b"\n")


def test_without_a_kind_an_age_is_about_all_kinds(
    cache: Cache, capsys: pytest.CaptureFixture[str]
) -> None:
    download, snapshot = cache.fetch("old"), StoredSnapshot("redis-0123-def")
    snapshot.write(b"content")
    for each in (download, snapshot.path):
        cache.let_age(each, 3)
    dead = make_directory("0123abcd")
    earlier = process_identity.this_process()._replace(started="earlier")
    (dead / "owner.json").write_text(json.dumps(earlier))
    then = time.time() - 3 * DAY
    os.utime(dead / "owner.json", (then, then))
    data = dead.parent / "berth-server-redis"
    data.mkdir()
    owned_directories.mark(data)
    gone = {"pid": 0, "created": 0.0, "signal": "SIGTERM", "directory": str(data)}
    server = Server("redis", "local", "127.0.0.1", 1, Credentials("", "", ""), handle=gone)
    record = Record("redis-1", server, (), "", "", 5 * DAY, ends=time.time() + 2 * DAY)
    records.of_user().write(record)

    commands.main(["prune", "--older-than", "4d"])
    assert capsys.readouterr().out == ""
    commands.main(["prune"])
    told = capsys.readouterr()
    assert told.out.startswith(f"0123abcd  dead     {dead}  ")
    assert told.out.endswith(" bytes, 3 days old\n")
    assert not dead.exists()
    assert records.of_user().all() == [record]

    commands.main(["prune", "--older-than", "2d"])

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["redis-1", "snapshot", "download"]
    assert [line.endswith("3 days old") for line in lines] == [True] * 3
    assert records.of_user().all() == []
    assert not download.exists()
    assert not snapshot.path.exists()
    commands.main(["prune", "--kept", "--failed", "--dead", "--older-than", "0"])
    assert capsys.readouterr().err.endswith("berth: nothing removed\n")


def test_mistakes_are_told(cache: Cache, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        commands.main(["prune", "0123abcd", "--snapshots"])
    assert ended.value.code == 1
    assert "snapshots and downloads are of no single run." in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        commands.main(["prune", "--older-than", "30"])
    assert ended.value.code == 2
    told = capsys.readouterr().err
    assert "argument --older-than: '30' is no time: did you mean 30m or 30s?" in told


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30d", 30 * DAY), ("2 weeks", 14 * DAY), ("1 day", DAY), ("3 hours", 10800), ("10min", 600)],
)
def test_ages_are_taken_as_people_write_them(text: str, seconds: float) -> None:
    assert duration(text).total_seconds() == seconds
