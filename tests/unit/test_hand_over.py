"""What of a run's end is left to its reaper, and when pytest waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_berth.api import Credentials, Server
from pytest_berth.run import hand_over

if TYPE_CHECKING:
    from pathlib import Path

BY_SOCKET = {"socket": "/run/engine.sock", "container": "abc"}


@pytest.mark.parametrize(
    ("name", "value", "waits"),
    [
        ("CI", "true", True),
        ("CI", "false", False),
        ("CI", "", False),
        ("JENKINS_URL", "https://ci.example.com", True),
        ("SLURM_JOB_ID", "17", True),
        ("HOME", "/home/me", False),
    ],
)
def test_pytest_waits_where_its_reaper_may_end_with_it(
    name: str, value: str, waits: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.path.exists", lambda path: False)
    monkeypatch.setattr(hand_over.Path, "read_text", lambda path: "0::/user.slice/s-1.scope\n")
    assert bool(hand_over.why_waited({name: value})) is waits


def test_pytest_waits_as_a_service_and_as_what_its_container_was_started_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.path.exists", lambda path: False)
    monkeypatch.setattr(hand_over.Path, "read_text", lambda path: "0::/system.slice/ci.service\n")
    assert hand_over.why_waited({}) == "pytest runs as a service"
    monkeypatch.setattr("os.path.exists", lambda path: path == "/.dockerenv")
    monkeypatch.setattr(hand_over.Path, "read_text", lambda path: "7 (py) test) S 1 7 7")
    assert "container" in hand_over.why_waited({})


@pytest.mark.parametrize(
    ("handle", "reuse_record", "simple"),
    [
        (BY_SOCKET, "", True),
        (BY_SOCKET | {"socket": ""}, "", False),
        (BY_SOCKET | {"network": "n1"}, "", False),
        (BY_SOCKET | {"reaper": {"container": "r"}}, "", False),
        (BY_SOCKET, "redis-0123456789abcdef", False),
        ({"pid": 1}, "", False),
    ],
)
def test_only_a_container_that_has_nothing_else_is_left(
    handle: dict[str, object], reuse_record: str, simple: bool
) -> None:
    account = Credentials("berth", "berth", "berth")
    server = Server(
        "redis", "container", "127.0.0.1", 1, account, handle=handle, reuse_record=reuse_record
    )
    assert hand_over.is_simple(server) is simple


def test_an_engine_that_does_not_answer_leaves_all_to_the_sweeping(tmp_path: Path) -> None:
    account = Credentials("berth", "berth", "berth")
    handle = {"socket": str(tmp_path / "none.sock"), "container": "abc"}
    hand_over.leave(tmp_path, [Server("redis", "container", "", 1, account, handle=handle)], {})
    assert not hand_over.complete(tmp_path)
    assert (tmp_path / "handed-over").exists()
