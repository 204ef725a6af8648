"""Lines of ``berth_services``: what they say, and what is told of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_berth.config.options import ServiceLine
from pytest_berth.errors import SettingsError
from pytest_berth.services.generic import lines, ready, reset

BOX = "box = an/image:1.0 "


def parse(line: str) -> lines.Declaration:
    """Return what a line declares."""
    return lines.parse(ServiceLine(line), Path(), "pytest.ini")


def test_the_line_of_the_documentation() -> None:
    found = parse(lines.EXAMPLE)

    assert found.image == "axllent/mailpit:v1.20"
    assert found.ports == {"smtp": 1025, "http": 8025}
    assert found.ready == ready.HttpAnswers(8025, "/readyz")
    assert found.reset == reset.Request("DELETE", "http", "/api/v1/messages")
    assert found.environment == {"MP_MAX_MESSAGES": "500"}
    assert (found.scope, found.scheme()) == ("worker", "smtp")


def test_words_in_quotes() -> None:
    found = parse(BOX + "8080 env.A='two words' command=\"-c 'x y' -v\" reset='exec:rm -f \"a b\"'")

    assert found.environment == {"A": "two words"}
    assert found.command == ("-c", "x y", "-v")
    assert found.reset == reset.Command(("rm", "-f", "a b"))
    assert (found.port(8080), found.scheme("8080"), found.ready) == (8080, "http", None)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("box", "it begins with no name of small letters, digits and _, and ="),
        ("Box = image 80", "it begins with no name of small letters, digits and _, and ="),
        ("box = ready=http", "no image comes first"),
        (BOX, "it names no port"),
        (BOX + "http", "'http' is no port, such as http:8025"),
        (BOX + "http:80000", "'http:80000' is no port, such as http:8025"),
        (BOX + "53/udp", "'53/udp' is no port, such as http:8025"),
        (BOX + "a:1 a:2", "'a' is there twice"),
        (BOX + "80 raedy=80", "'raedy' is unknown, did you mean 'ready'?"),
        (
            BOX + "80 env=1",
            "'env' is unknown, use one of: command, depends_on, ready, reset, scope",
        ),
        (BOX + "http:80 ready=htp:/x", "it has no port 'htp', did you mean 'http'?"),
        (BOX + "http:80 ready=log:(", "ready=log:( is no regular expression"),
        (BOX + "http:80 ready=http:x", "ready=http:x is none of its forms"),
        (BOX + "http:80 reset=delete,http:/x", "reset=delete,http:/x is none of its forms"),
        (BOX + "http:80 reset=POST,api:/x", "it has no port 'api', use one of: http"),
        (BOX + "http:80 scope=all", "use one of: run, test, worker"),
        (BOX + "http:80 file./a=nowhere", "no absolute path with a file that is there"),
        (BOX + "http:80 command='a", "No closing quotation"),
    ],
)
def test_a_wrong_line_is_shown_with_what_it_may_hold(line: str, told: str) -> None:
    with pytest.raises(SettingsError) as caught:
        parse(line)

    assert caught.value.what.startswith("berth_services has a line that cannot be used: ")
    assert told in caught.value.what
    assert caught.value.why == f"'{line}', set by pytest.ini"
    assert caught.value.remedy.startswith(f"write lines such as {lines.EXAMPLE}\n")
    assert "\nreset=  DELETE,http:/path; exec:command; " in caught.value.remedy


def test_what_looks_like_a_secret_is_not_shown() -> None:
    with pytest.raises(SettingsError) as caught:
        parse(BOX + "env.API_PASSWORD=hunter2 80 80")

    assert "hunter2" not in str(caught.value)
    assert "env.API_PASSWORD=***" in caught.value.why
