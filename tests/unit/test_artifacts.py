"""Artifacts from a Maven repository: a server on this machine stands for it."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
import signal
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from pytest_berth.errors import ArtifactError, MissingExtraError
from pytest_berth.sources import artifact_cache, downloads, owned_directories, unpacking
from pytest_berth.sources.artifacts import Artifact, cache_directory, fetch
from pytest_berth.waiting import wait_for

COORDINATES = "org.example:some-server:1.2.0"
OLD_PYTHON = pytest.mark.skipif(sys.version_info >= (3, 12), reason="it has tarfile's own filter")
EITHER_WAY = pytest.mark.parametrize("filtered", [True, pytest.param(False, marks=OLD_PYTHON)])
PROGRAM = b"#!/bin/sh\necho server\n"


@dataclass
class Recorder:
    """Progress that remembers what it was told."""

    notes: list[str] = field(default_factory=list)
    updates: list[tuple[str, int, int | None]] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def update(self, label: str, done: int, total: int | None) -> None:
        self.updates.append((label, done, total))


@dataclass
class Repository:
    """A Maven repository with one jar, and what it was asked for."""

    jar: bytes
    address: str = ""
    ranges: list[str | None] = field(default_factory=list)
    logins: list[str | None] = field(default_factory=list)
    status: int = 200
    knows_ranges: bool = True
    drop_after: list[int] = field(default_factory=list)
    asked: threading.Event = field(default_factory=threading.Event)
    go_on: threading.Event = field(default_factory=threading.Event)
    stop_after: int | None = None

    @property
    def artifact(self) -> Artifact:
        return Artifact(COORDINATES, hashlib.sha256(self.jar).hexdigest(), len(self.jar))

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers["Range"]
        self.ranges.append(wanted)
        self.logins.append(request.headers["Authorization"])
        if self.status != 200 or not request.path.endswith(self.artifact.path):
            request.send_error(self.status if self.status != 200 else 404)
            return
        partial = wanted is not None and self.knows_ranges
        body = self.jar[int(wanted[6:-1]) :] if partial else self.jar
        request.send_response(206 if partial else 200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        self.send(request, body)

    def send(self, request: BaseHTTPRequestHandler, body: bytes) -> None:
        if self.drop_after:
            request.wfile.write(body[: self.drop_after.pop(0)])
            return
        if self.stop_after is not None:
            request.wfile.write(body[: self.stop_after])
            body, self.stop_after = body[self.stop_after :], None
            self.asked.set()
            self.go_on.wait(30)
        request.wfile.write(body)


@pytest.fixture
def jar() -> bytes:
    return make_jar({"bin/server": PROGRAM, "share/data": os.urandom(600_000)})


@pytest.fixture
def repository(jar: bytes) -> Iterator[Repository]:
    repository = Repository(jar)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                repository.answer(self)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    repository.address = f"http://127.0.0.1:{server.server_address[1]}/maven"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield repository
    repository.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def progress() -> Recorder:
    return Recorder()


Get = Callable[..., Path]


@pytest.fixture
def get(repository: Repository, tmp_path: Path, progress: Recorder) -> Get:
    def get(artifact: Artifact | None = None, mirror: str = "", into: Path | None = None) -> Path:
        return fetch(
            artifact or repository.artifact,
            unpacking.unpack_tarball_in_jar,
            cache=into or tmp_path / "cache",
            mirror=mirror or repository.address,
            progress=progress,
        )

    return get


def make_jar(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    tarball, jar = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=tarball, mode="w:xz", preset=0) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            member.mode = 0o777 if name.startswith("bin/") else 0o666
            archive.addfile(member, io.BytesIO(content))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            archive.addfile(member)
    with zipfile.ZipFile(jar, "w") as archive:
        archive.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\n")
        archive.writestr("server.txz", tarball.getvalue())
    return jar.getvalue()


def contents(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir() if path.suffix != ".lock")


def test_an_artifact_is_unpacked_into_the_cache(get: Get, tmp_path: Path) -> None:
    tree = get()
    assert tree.parent == tmp_path / "cache"
    assert (tree / "bin/server").read_bytes() == PROGRAM
    assert contents(tree.parent) == [tree.name]


def test_it_is_downloaded_once(get: Get, repository: Repository) -> None:
    assert get() == get()
    assert len(repository.ranges) == 1


def test_what_is_in_the_cache_needs_no_mirror(get: Get) -> None:
    assert get() == get(mirror="no address")


def test_another_checksum_means_another_download(get: Get, repository: Repository) -> None:
    first = get()
    repository.jar = make_jar({"bin/server": b"newer"})
    assert get() != first


def test_its_progress_ends_with_all_bytes(
    get: Get, progress: Recorder, repository: Repository
) -> None:
    get()
    size = len(repository.jar)
    assert progress.updates[-1] == ("some-server 1.2.0", size, size)
    assert len(progress.updates) > 1


def test_programs_stay_executable_and_nobody_else_may_write(get: Get) -> None:
    before = os.umask(0o077)
    try:
        tree = get()
    finally:
        os.umask(before)
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in (tree, *tree.rglob("*"))}
    assert modes.pop("server") == 0o755
    assert modes.pop("data") == 0o644
    assert modes.pop(owned_directories.RECORD) == 0o600
    assert set(modes.values()) == {0o755}


@pytest.mark.parametrize("root", [True, False])
@pytest.mark.parametrize("umask", [0o000, 0o002, 0o077])
def test_the_cache_is_never_writable_by_others(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, umask: int, root: bool
) -> None:
    monkeypatch.setattr(artifact_cache, "is_root", lambda: root)
    directory = tmp_path / "a" / "b"
    before = os.umask(umask)
    try:
        artifact_cache.make(directory)
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in (directory, directory.parent)}
    assert modes == {0o755 if root else 0o755 & ~umask}


def test_a_dropped_connection_is_taken_up_where_it_broke(get: Get, repository: Repository) -> None:
    repository.drop_after = [300_000]
    get()
    assert repository.ranges == [None, "bytes=300000-"]


def test_a_repository_without_ranges_is_asked_from_the_start(
    get: Get, repository: Repository
) -> None:
    repository.drop_after = [300_000]
    repository.knows_ranges = False
    assert (get() / "bin/server").exists()
    assert len(repository.ranges) == 2


def test_a_connection_that_drops_each_time_is_an_error(
    get: Get, repository: Repository, progress: Recorder, tmp_path: Path
) -> None:
    repository.drop_after = [1000, 1000, 1000]
    with pytest.raises(ArtifactError, match=r"broke off 3 times") as raised:
        get()
    assert raised.value.why.startswith(f"3000 of {len(repository.jar)} bytes came")
    assert "run it again" in raised.value.remedy
    assert progress.updates[-1][1] == progress.updates[-1][2]
    assert contents(tmp_path / "cache") == []


def test_a_wrong_checksum_is_an_error_that_leaves_nothing(
    get: Get, repository: Repository, tmp_path: Path
) -> None:
    with pytest.raises(ArtifactError, match="is not the file that is pinned") as raised:
        get(repository.artifact._replace(sha256="0" * 64))
    assert "0" * 64 in raised.value.why
    assert repository.artifact.sha256 in raised.value.why
    assert "berth_artifact_mirror" in raised.value.remedy
    assert contents(tmp_path / "cache") == []


def test_a_longer_file_is_not_taken_whole(get: Get, repository: Repository) -> None:
    with pytest.raises(ArtifactError, match="is not the file that is pinned") as raised:
        get(repository.artifact._replace(size=1000))
    assert "more than 1000 bytes came" in raised.value.why


def test_a_login_page_instead_of_the_file_is_an_error(get: Get, repository: Repository) -> None:
    pinned = repository.artifact
    repository.jar = b"<html>Please log in</html>"
    with pytest.raises(ArtifactError, match="is not the file that is pinned") as raised:
        get(pinned)
    assert "26 bytes came (a proxy's login page" in raised.value.why
    assert len(repository.ranges) == 1


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        (404, "give a mirror that holds what Maven Central does"),
        (401, "berth_artifact_mirror = https://user:password@"),
        (407, "HTTPS_PROXY=http://user:password@"),
        (503, "try again later"),
    ],
)
def test_a_refusal_names_what_mends_it(
    get: Get, repository: Repository, status: int, remedy: str
) -> None:
    repository.status = status
    with pytest.raises(ArtifactError, match="could not be downloaded") as raised:
        get()
    assert f"the answer was {status}" in raised.value.why
    assert remedy in raised.value.remedy


def test_an_unreachable_mirror_names_mirror_proxy_and_container(get: Get) -> None:
    with pytest.raises(ArtifactError, match="could not be reached") as raised:
        get(mirror="http://127.0.0.1:1/maven")
    assert "refused" in raised.value.why
    for way in ("berth_artifact_mirror", "HTTPS_PROXY", "berth_source = container"):
        assert way in raised.value.remedy


def test_a_mirror_that_speaks_no_tls_is_an_error(get: Get, repository: Repository) -> None:
    with pytest.raises(ArtifactError, match="could not be reached") as raised:
        get(mirror=repository.address.replace("http:", "https:"))
    assert "SSL_CERT_FILE" in raised.value.remedy


def test_a_mirror_may_be_a_directory(get: Get, repository: Repository, tmp_path: Path) -> None:
    path = tmp_path / "maven" / repository.artifact.path
    path.parent.mkdir(parents=True)
    path.write_bytes(repository.jar)
    assert (get(mirror=(tmp_path / "maven").as_uri()) / "bin/server").exists()
    assert repository.ranges == []


def test_a_proxy_of_the_environment_is_used(
    get: Get, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", repository.address.removesuffix("/maven"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert (get(mirror="http://maven.invalid/maven") / "bin/server").exists()


def test_the_login_of_a_mirror_is_sent_and_never_printed(get: Get, repository: Repository) -> None:
    mirror = repository.address.replace("//", "//joe:s%40cret@")
    get(mirror=mirror)
    assert repository.logins == ["Basic am9lOnNAY3JldA=="]
    with pytest.raises(ArtifactError) as raised:
        get(repository.artifact._replace(coordinates="a:b:1"), mirror=mirror)
    assert "cret" not in f"{raised.value} {downloads.Mirror.parse(mirror)!r}"


def test_the_login_does_not_follow_to_another_host(get: Get, repository: Repository) -> None:
    class Redirect(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", f"{repository.address}/{repository.artifact.path}")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Redirect) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        get(mirror=f"http://joe:secret@127.0.0.1:{server.server_address[1]}/maven")
        thread.join()
    assert repository.logins == [None]


@pytest.mark.parametrize("mirror", ["repo.example.org/maven", "joe:secret@repo", "http://[x", ""])
def test_a_mirror_that_is_no_address_is_an_error(mirror: str, tmp_path: Path) -> None:
    artifact = Artifact(COORDINATES, "0" * 64, 1)
    with pytest.raises(ArtifactError, match="berth_artifact_mirror is not an address") as raised:
        fetch(artifact, unpacking.copy_jar, cache=tmp_path, mirror=mirror, progress=Recorder())
    assert "secret" not in str(raised.value)


def test_a_damaged_archive_is_an_error(get: Get, repository: Repository, tmp_path: Path) -> None:
    repository.jar = repository.jar[:-1000]
    with pytest.raises(ArtifactError, match="cannot be unpacked") as raised:
        get()
    assert "BadZipFile" in raised.value.why
    assert contents(tmp_path / "cache") == []


def test_a_full_disk_is_an_error_that_names_the_cache(
    repository: Repository, tmp_path: Path, progress: Recorder
) -> None:
    def unpack(jar: Path, to: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(ArtifactError, match="cannot be stored in") as raised:
        fetch(
            repository.artifact,
            unpack,
            cache=tmp_path,
            mirror=repository.address,
            progress=progress,
        )
    assert "No space left" in raised.value.why
    assert "BERTH_CACHE=" in raised.value.remedy
    assert contents(tmp_path) == []


@pytest.mark.parametrize("name", ["file", "file/below/it"])
def test_a_cache_that_is_a_file_is_told_with_the_variable_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("BERTH_CACHE", str(tmp_path / name))
    with pytest.raises(ArtifactError, match="the cache cannot be at") as raised:
        cache_directory()
    assert f"{tmp_path / 'file'} is a file, and BERTH_CACHE = {tmp_path / name}" in raised.value.why


def test_a_cache_that_cannot_be_made_is_an_error(get: Get, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ArtifactError, match="cannot be stored in") as raised:
        get(into=tmp_path / "file" / "cache")
    assert "Not a directory" in raised.value.why


@EITHER_WAY
@pytest.mark.parametrize(
    ("files", "links"),
    [
        ({"../evil": b""}, {}),
        ({"TMP/evil": b""}, {}),
        ({}, {"lib": "../../.."}),
        ({}, {"lib": "/etc"}),
    ],
)
def test_nothing_lands_outside(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    files: dict[str, bytes],
    links: dict[str, str],
    filtered: bool,
) -> None:
    if not filtered:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    jar, to = tmp_path / "x.jar", tmp_path / "a" / "b"
    files = {name.replace("TMP", str(tmp_path)): content for name, content in files.items()}
    jar.write_bytes(make_jar(files, links))
    to.mkdir(parents=True)
    # tarfile's own filter takes an absolute path for a relative one, which is as harmless.
    with contextlib.suppress(*unpacking.DAMAGED):
        unpacking.unpack_tarball_in_jar(jar, to)
    assert [path for path in tmp_path.rglob("evil") if to not in path.parents] == []
    assert not (to / "lib").is_symlink()


@EITHER_WAY
def test_links_inside_are_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, filtered: bool
) -> None:
    if not filtered:
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
    jar, to = tmp_path / "x.jar", tmp_path / "to"
    jar.write_bytes(make_jar({"lib/libpq.so.5": b"x"}, {"lib/libpq.so": "libpq.so.5"}))
    to.mkdir()
    unpacking.unpack_tarball_in_jar(jar, to)
    assert (to / "lib/libpq.so").readlink() == Path("libpq.so.5")


FETCH = """
import sys
from pathlib import Path
from pytest_berth.sources.unpacking import unpack_tarball_in_jar
from pytest_berth.sources.artifacts import Artifact, fetch

class Progress:
    def note(self, text): print(text, flush=True)
    def update(self, label, done, total): pass

coordinates, sha256, size, cache, mirror = sys.argv[1:]
artifact = Artifact(coordinates, sha256, int(size))
fetch(artifact, unpack_tarball_in_jar, cache=Path(cache), mirror=mirror, progress=Progress())
print("fetched", flush=True)
"""


def start_process(repository: Repository, into: Path) -> subprocess.Popen[str]:
    artifact = repository.artifact
    arguments = [
        artifact.coordinates,
        artifact.sha256,
        str(artifact.size),
        into,
        repository.address,
    ]
    command = [sys.executable, "-c", FETCH, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_a_second_process_waits_and_does_not_download(
    repository: Repository, tmp_path: Path
) -> None:
    repository.stop_after = 1000
    first = start_process(repository, tmp_path)
    assert repository.asked.wait(30)
    second = start_process(repository, tmp_path)
    assert second.stdout is not None
    waiting = second.stdout.readline()
    repository.go_on.set()
    assert first.communicate(timeout=30)[0] == "fetched\n"
    assert second.communicate(timeout=30)[0] == "fetched\n"
    assert waiting == "waiting for another process that downloads some-server\n"
    assert len(repository.ranges) == 1


def test_a_killed_process_leaves_nothing_that_looks_whole(
    get: Get, repository: Repository, tmp_path: Path
) -> None:
    repository.stop_after = 1000
    cache = tmp_path / "cache"
    process = start_process(repository, cache)
    assert repository.asked.wait(30)
    wait_for(lambda: list(cache.glob("*.partial/*.jar")), 30)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=30)
    repository.go_on.set()
    assert contents(cache) == [f"{repository.artifact.directory}.partial"]
    tree = get()
    assert (tree / "bin/server").read_bytes() == PROGRAM
    assert contents(cache) == [tree.name]


def test_what_a_killed_process_left_of_another_artifact_is_removed(
    get: Get, tmp_path: Path
) -> None:
    partial = tmp_path / "cache" / "old-server-1-abc.partial"
    (partial / "tree").mkdir(parents=True)
    owned_directories.mark(partial)
    assert contents(get().parent) == [get().name]


def test_what_a_living_process_downloads_is_left_alone(get: Get, tmp_path: Path) -> None:
    from filelock import FileLock

    partial = tmp_path / "cache" / "other-server-1-abc.partial"
    partial.mkdir(parents=True)
    with FileLock(partial.with_suffix(".lock")):
        get()
        assert partial.exists()


def test_the_cache_is_where_berth_cache_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BERTH_CACHE", "~/berth")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_directory() == tmp_path / "berth"


def test_the_cache_is_the_users_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BERTH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(artifact_cache, "is_root", lambda: False)
    assert cache_directory() == tmp_path / "pytest-berth"


def test_the_cache_of_root_can_be_read_by_the_servers_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("BERTH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(artifact_cache, "is_root", lambda: True)
    tmp_path.chmod(0o700)
    assert cache_directory() == Path("/var/cache/pytest-berth")


def test_a_missing_platformdirs_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BERTH_CACHE", raising=False)
    monkeypatch.setitem(sys.modules, "platformdirs", None)
    with pytest.raises(MissingExtraError, match=r"pip install .pytest-berth\[local\]"):
        cache_directory()


def test_urllib_and_archives_are_not_imported_before_they_are_needed() -> None:
    code = "import sys, pytest_berth.sources.artifacts as _; print(*sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-S", "-c", code]
    output = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert not {"urllib.request", "tarfile", "filelock"} & set(output.stdout.split())
