"""What is known of kept servers, and who may end them."""

from __future__ import annotations

import json
import shutil
import socketserver
import stat
import struct
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from pytest_berth.api import Credentials, Server, Service
from pytest_berth.cli import commands, leftovers
from pytest_berth.cli.end import end
from pytest_berth.cli.lines import Lines
from pytest_berth.config.options import OPTIONS, defaults, duration
from pytest_berth.file_locks import LockHeldError
from pytest_berth.run import orphans, process_identity, reaper
from pytest_berth.run.registry import OWNER, REAPER
from pytest_berth.run.reuse import records, reuse_reaper
from pytest_berth.run.reuse.handover import Reuse
from pytest_berth.run.reuse.records import Record, Records
from pytest_berth.run.run import Run
from pytest_berth.services.kafka.backend import Kafka
from pytest_berth.services.kafka.service import KAFKA
from pytest_berth.sources import owned_directories
from pytest_berth.sources.choose import Sources
from pytest_berth.sources.labels import REUSE, RUN

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

DATA = "berth-server-0123abcd-redis.data"
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
    data = tmp_path / DATA
    data.mkdir()
    owned_directories.mark(data)
    server = replace(SERVER, handle={**GONE, "directory": str(data)})
    user, ended = str(tmp_path / "berth-0123abcd-gone"), time.time() - 1
    made = Record("redis-1", server, ("setting a=1",), str(tmp_path), user, 60.0, ended)
    there.write(made)
    return made


def used(record: Record, directory: Path) -> Record:
    """Return the record of a server that this very process uses."""
    directory.mkdir()
    process_identity.write(directory / OWNER, process_identity.this_process())
    return replace(record, user=str(directory))


class EmptiedKafka(Kafka):
    """Kafka, but that it is only noted when a broker would be emptied."""

    def __init__(self, service: Service) -> None:
        super().__init__(service)
        self.emptied: list[Server] = []

    def reset_server(
        self, server: Server, run_id: str, digest: Sequence[str], password: str
    ) -> Sequence[str]:
        """Note the server, which is then as it was."""
        self.emptied.append(server)
        return digest


def emptied_kafka() -> Service:
    """Return the service of such a Kafka."""
    packages = KAFKA.packages
    return Service("kafka", EmptiedKafka, options=KAFKA.options, packages=packages, reusable=True)


@contextmanager
def broker_of(cluster: str) -> Iterator[int]:
    """Listen as a broker that tells only which cluster it belongs to; give its port."""

    class Metadata(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            (size,) = struct.unpack(">i", self.rfile.read(4))
            (correlation,) = struct.unpack_from(">i", self.rfile.read(size), 4)
            broker = struct.pack(">ih1sih", 1, 1, b"h", 9092, -1)
            head = struct.pack(">ii", correlation, 1)
            body = head + broker + struct.pack(">h", len(cluster)) + cluster.encode()
            self.wfile.write(struct.pack(">i", len(body)) + body)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Metadata) as listening:
        threading.Thread(target=listening.serve_forever, args=(0.01,)).start()
        try:
            yield listening.server_address[1]
        finally:
            listening.shutdown()


@pytest.mark.parametrize(
    ("text", "seconds"), [("15m", 900), ("90s", 90), ("1.5h", 5400), ("2 d", 172800), ("0", 0)]
)
def test_a_duration_has_a_unit(text: str, seconds: int) -> None:
    assert duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["15x", "15", "1.5", "m", "", "-1m", "1m30s", "inf", f"{10**20}d"])
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


def former(there: Records, record: Record) -> Record:
    """Return a record as a version of format 2 has written it."""
    path = there.directory / f"{record.name}.json"
    fields = json.loads(path.read_text())
    fields["server"]["kept"] = fields["server"].pop("reuse_record")
    del fields["format"]
    path.write_text(json.dumps(fields))
    return replace(record, format=2)


def test_the_record_of_a_former_version_is_read_and_its_server_ended_at_its_time(
    there: Records, record: Record, tmp_path: Path
) -> None:
    lasting = replace(record, ends=time.time() + 60)
    there.write(lasting)
    old = former(there, lasting)
    assert there.all() == [old]
    assert not end(there.directory, record.name, early=False)

    there.write(record)
    old = former(there, record)
    assert there.all() == [old]
    assert end(there.directory, record.name, early=False)
    assert there.all() == []
    assert not (tmp_path / DATA).exists()


def test_a_former_version_can_tell_that_a_server_stays(there: Records, record: Record) -> None:
    """It reads these fields, and removes containers that no record names."""
    written = json.loads((there.directory / f"{record.name}.json").read_text())
    assert {"name", "server", "condition", "project", "user", "lasts", "ends"} <= written.keys()


def test_a_server_of_a_former_version_whose_run_was_killed_is_stopped_not_left(
    there: Records, record: Record, tmp_path: Path
) -> None:
    kafka, run = emptied_kafka(), Run("0123abcd", "main")
    server = replace(record.server, reuse_record=record.name)
    there.write(replace(record, server=server, user=str(run.directory)))
    former(there, record)
    settings = defaults(tmp_path, (*OPTIONS, *kafka.options))

    Reuse(run, settings, Lines(), Sources(settings, run.id)).leave(kafka, server)

    assert there.all() == []
    assert not (tmp_path / DATA).exists()
    run.remove()


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
    assert not end(there.directory, record.name, early=True)
    with pytest.raises(PermissionError):
        records.of_user()
    assert Records(planted).all() == [record]


def test_another_boot_or_another_image_is_another_server(monkeypatch: pytest.MonkeyPatch) -> None:
    first = records.name("redis", Path("/shop"), "image-1")
    assert records.name("redis", Path("/shop"), "image-2") != first
    monkeypatch.setattr(process_identity, "machine", lambda: "other-boot pid:[1]")
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
    (tmp_path / "berth-0000-run" / OWNER).write_text(
        json.dumps([1, "long ago", process_identity.machine()])
    )
    assert not by_us.is_used
    assert not replace(record, user=str(tmp_path / "berth-0001-gone")).is_used


def test_only_what_is_over_and_not_in_use_is_ended(
    there: Records, record: Record, tmp_path: Path
) -> None:
    there.write(used(record, tmp_path / "berth-0000-run"))
    assert not end(there.directory, record.name, early=True)

    there.write(replace(record, ends=time.time() + 60))
    assert not end(there.directory, record.name, early=False)

    there.write(record)
    with there.lock(record.name), pytest.MonkeyPatch.context() as patch:
        patch.setattr("pytest_berth.run.reuse.expiry._LOCKED_WITHIN", 0)
        assert not end(there.directory, record.name, early=True)
    assert there.all() == [record]

    assert end(there.directory, record.name, early=False)
    assert there.all() == []
    assert not (tmp_path / DATA).exists()


def test_a_broker_that_has_taken_the_place_of_ours_is_not_emptied_and_ours_is_forgotten(
    there: Records,
    record: Record,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    kafka, run = emptied_kafka(), Run("0123abcd", "main")
    settings = defaults(tmp_path, (*OPTIONS, *kafka.options))
    reuse = Reuse(run, settings, Lines(), Sources(settings, run.id))
    monkeypatch.setattr(Reuse, "_name", lambda *_: record.name)

    def take_over(port: int) -> Server | None:
        server = replace(record.server, service="kafka", port=port, version="4.1.0")
        server = replace(server, credentials=Credentials("", "", "ours"), reuse_record=record.name)
        there.write(replace(record, server=server))
        return reuse.reattach(kafka)

    emptied = cast("EmptiedKafka", kafka.backend).emptied
    with there.lock(REAPER), broker_of("ours") as port:
        ours = take_over(port)
    assert ours
    assert [each.port for each in emptied] == [port]
    assert [each.user for each in there.all()] == [str(run.directory)]

    with broker_of("another") as port:
        assert take_over(port) is None
    assert len(emptied) == 1
    assert there.all() == []
    assert not (tmp_path / DATA).exists(), "what is left of ours is removed"
    told = f"is passed over: the broker at 127.0.0.1:{port} is not the one that was started"
    assert f"berth: kafka: the server kept for this project {told}." in capsys.readouterr().err
    run.remove()


def test_ps_shows_what_is_kept_and_prune_ends_what_is_over_or_named(
    there: Records,
    record: Record,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(leftovers.orphans, "containers", lambda _: [])
    monkeypatch.setattr(leftovers, "connect", lambda: None)
    lasting = replace(record, ends=time.time() + 600)
    there.write(lasting)

    commands.main(["prune", "--yes"])
    assert there.all() == [lasting]
    commands.main(["ps"])
    assert "redis-1  kept     redis , local, at 127.0.0.1:1  " in (told := capsys.readouterr().out)
    assert "10 min left" in told

    commands.main(["prune", "redis-1"])
    assert there.all() == []


def test_a_look_at_the_engine_reads_the_records_once_when_it_is_known_which_runs_are_dead(
    there: Records, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[Records] = []
    read = Records.all

    def counted(at: Records) -> list[Record]:
        looks.append(at)
        return read(at)

    def ends_now(_: object, found: Mapping[str, str]) -> str:
        """Leave the server of a run for later ones at the last moment."""
        server = replace(record.server, handle={"container": found[RUN]})
        there.write(replace(record, name=found[RUN], server=server))
        return orphans.DEAD

    def container(run_id: str) -> SimpleNamespace:
        labels = {RUN: run_id, REUSE: str(there.directory)}
        return SimpleNamespace(id=run_id, attrs={"Labels": labels, "Names": [f"/{run_id}"]})

    listed = [container("0000"), container("0001")]
    networks = SimpleNamespace(list=lambda **_: [])
    engine = SimpleNamespace(containers=SimpleNamespace(list=lambda **_: listed), networks=networks)
    monkeypatch.setattr(Records, "all", counted)
    monkeypatch.setattr(orphans, "_state_of_run", ends_now)

    assert [each.state for each in orphans.containers(engine)] == [orphans.KEPT] * 2
    assert len(looks) == 1


def test_a_reuse_reaper_ends_what_is_over_and_then_itself(there: Records, record: Record) -> None:
    reuse_reaper.ReuseReaper(there).run()

    assert there.all() == []
    with there.lock(REAPER):
        pass


def test_a_reuse_reaper_whose_directory_was_removed_makes_none(
    there: Records, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reuse_reaper, "end_apart", lambda *_, early: shutil.rmtree(there.directory))

    reuse_reaper.ReuseReaper(there).run()

    assert not there.directory.exists()


def test_there_is_one_reuse_reaper(there: Records, record: Record) -> None:
    with there.lock(REAPER), pytest.raises(LockHeldError):
        reuse_reaper.ReuseReaper(there).run()

    assert there.all() == [record]


def test_the_reaper_of_any_run_starts_a_reuse_reaper_where_one_is_missing(
    there: Records, record: Record
) -> None:
    place = there.directory.parent
    assert list(reaper._unguarded(place)) == [there.directory]
    with there.lock(REAPER):
        assert list(reaper._unguarded(place)) == []

    there.remove(record)
    assert list(reaper._unguarded(place)) == []
