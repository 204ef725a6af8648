"""Servers' programs on this machine: where they are looked for, and what is made of them."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from pytest_berth.errors import ArtifactError, BerthError, NoSourceError
from pytest_berth.sources import programs
from pytest_berth.sources.artifacts import Artifact

PIN = Artifact("org.example:thing:1.2", "0" * 64, 1)


def program(place: Path, name: str, does: str) -> Path:
    place.mkdir(parents=True, exist_ok=True)
    path = place / name
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    place.chmod(0o755)
    return path


def binaries(
    *, installed: object = None, pin: Artifact | None = None, at: Path | None = None
) -> programs.Binaries:
    return SimpleNamespace(
        installed=lambda wanted: installed,
        pinned=lambda wanted: pin,
        missing=lambda wanted: NoSourceError(f"there is no {wanted}", why="", remedy=""),
        programs=lambda: [at] if at else [],
    )


def test_programs_are_looked_for_on_the_path_and_then_in_the_usual_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), "relative", "", str(tmp_path)]))
    monkeypatch.setattr("platform.system", lambda: "Plan9")
    found = list(programs.candidates(("one", "two"), {"Plan9": ["/usual"], "Linux": ["/other"]}))
    assert found == [
        *(tmp_path / each for each in ("one", "two")),
        Path("/usual/one"),
        Path("/usual/two"),
    ]


def test_a_program_that_fails_or_cannot_be_run_tells_nothing(open_place: Path) -> None:
    tells = program(open_place / "tells", "server", 'echo "$1 1.2"')
    fails = program(open_place / "fails", "server", "echo 1.2; exit 1")
    closed = program(open_place / "closed", "server", "echo 1.2")
    closed.chmod(0o644)
    assert programs.told_by(tells) == "--version 1.2\n"
    assert programs.told_by(tells, "--bindir") == "--bindir 1.2\n"
    assert [programs.told_by(each) for each in (fails, closed, open_place / "none")] == ["", "", ""]


def test_a_place_that_only_root_may_enter_is_closed_to_roots_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = program(tmp_path / "private", "server", "echo 1.2")
    server.parent.chmod(0o700)
    monkeypatch.setattr(programs, "is_root", lambda: True)
    assert not programs.can_run(server)
    with pytest.raises(ArtifactError, match="could not read their binaries"):
        programs.require_open(server.parent)
    monkeypatch.setattr(programs, "is_root", lambda: False)
    assert programs.can_run(server)
    programs.require_open(server.parent)


def test_a_local_server_is_the_installed_one_or_else_the_pinned_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTH_CACHE", str(tmp_path))
    there, pinned, none = (
        binaries(installed=SimpleNamespace(label="thing, 1.3"), pin=PIN),
        binaries(pin=PIN),
        binaries(),
    )
    assert programs.local_obstacle(there, "1") is None
    assert [part.about for part in programs.local_parts(there, "1")] == ["thing, 1.3"]
    assert programs.local_obstacle(pinned, "1") is None
    assert programs.local_parts(pinned, "1") == [PIN.part]
    assert "there is no 1" in str(programs.local_obstacle(none, "1"))
    assert programs.local_parts(none, "1") == []
    (tmp_path / "file").touch()
    monkeypatch.setenv("BERTH_CACHE", str(tmp_path / "file"))
    assert isinstance(programs.local_obstacle(pinned, "1"), BerthError)
    assert programs.local_obstacle(there, "1") is None


def test_another_program_or_another_pinned_one_makes_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BERTH_CACHE", str(tmp_path))
    server = program(tmp_path / "bin", "server", "echo 1.2")
    some = binaries(pin=PIN, at=server)
    before = programs.local_identity(some, "1")
    assert programs.local_identity(some, "1") == before
    (tmp_path / PIN.directory).mkdir()
    fetched = programs.local_identity(some, "1")
    server.write_text("#!/bin/sh\necho 1.2.1\n")
    assert len({tuple(each) for each in (before, fetched, programs.local_identity(some, "1"))}) == 3
    assert programs.local_identity(some, "2") != programs.local_identity(some, "1")
