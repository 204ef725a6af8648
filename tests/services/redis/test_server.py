"""How a server is addressed, which program it is, and what the settings take."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_berth.errors import NoSourceError
from pytest_berth.services.redis import binaries, options, urls

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6380/3",
        "redis://:a%40b@host:6379/3",
        "rediss://user:word@[::1]:6379/3?ssl_cert_reqs=none",
        "unix://:word@/var/run/redis.sock?db=3",
    ],
)
def test_urls_are_given_back_as_they_came(url: str) -> None:
    assert urls.url(urls.server(url, ""), 3) == url
    account = urls.server("redis://:a%40b@host", "").credentials
    assert account.password == "a@b"
    assert "a@b" not in repr(account)


def test_only_the_default_is_content_with_any_version(
    monkeypatch: pytest.MonkeyPatch, open_place: Path
) -> None:
    for name, line in {
        "old": "Redis server v=6.0.16 sha=0",
        "seven": "Redis server v=7.0.15 sha=0",
        "valkey": "Valkey server v=8.1.0 sha=0",
    }.items():
        program = open_place / name / "redis-server"
        program.parent.mkdir()
        program.parent.chmod(0o755)
        program.write_text(f"#!/bin/sh\necho '{line}'\n")
        program.chmod(0o755)
    path = ":".join(str(open_place / each) for each in ("old", "seven", "valkey"))
    monkeypatch.setenv("PATH", f"{path}:/usr/bin:/bin")
    monkeypatch.setattr(binaries, "PLACES", {})

    def version(wanted: str) -> str:
        found = binaries.installed(wanted)
        return f"{found.product} {found.version}" if found else ""

    assert version("") == "Valkey 8.1.0"
    assert version("7") == version("7.0") == version("7.0.15") == "Redis 7.0.15"
    assert version("8") == ""
    assert version("7.1") == ""


def test_a_version_that_is_nowhere_is_told_with_a_remedy() -> None:
    message = str(binaries.missing("5.0"))
    assert "there is no server of Redis 5.0 for this machine." in message
    assert "leave berth_redis_version unset" in message
    with pytest.raises(NoSourceError):
        raise binaries.missing("")


@pytest.mark.parametrize(
    ("option", "value"),
    [
        (options.VERSION, "6.0"),
        (options.VERSION, "latest"),
        (options.URL, "http://localhost"),
        (options.SETTINGS, ["port = 1"]),
        (options.SETTINGS, ["maxmemory 64mb"]),
        (options.SCOPE, "session"),
    ],
)
def test_what_cannot_be_meant_is_refused(option: object, value: object) -> None:
    with pytest.raises(ValueError, match=r"use|leave|did you mean"):
        option.parse(value)  # type: ignore[attr-defined]  # any option
