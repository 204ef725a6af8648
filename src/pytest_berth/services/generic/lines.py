"""Reads lines of ``berth_services``: image, ports, and words such as ``ready=http:/readyz``."""

from __future__ import annotations

import re
import shlex
from typing import TYPE_CHECKING

from pytest_berth.config.common_options import parse_scope
from pytest_berth.errors import SettingsError, nearest
from pytest_berth.services.generic import ready, reset
from pytest_berth.services.generic.declaration import Declaration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pytest_berth.services.generic.ready import Check
    from pytest_berth.services.generic.reset import Reset

EXAMPLE = (
    "mailpit = axllent/mailpit:v1.20 smtp:1025 http:8025 ready=http:/readyz"
    " reset=DELETE,http:/api/v1/messages env.MP_MAX_MESSAGES=500"
)
NAME = r"[a-z][a-z0-9_]*"
_PORT = re.compile(r"(?:(?P<name>[a-z][a-z0-9-]*):)?(?P<number>\d{1,5})")
_REQUEST = re.compile(r"(?P<method>[A-Z]+),(?P<port>[\w-]+):(?P<path>/\S*)")
_HTTP = re.compile(r"(?:(?P<status>\d{3}),)?(?P<port>[\w-]+):(?P<path>/\S*)")
_FUNCTION = re.compile(r"(?P<module>[a-zA-Z_][\w.]*):(?P<name>[a-zA-Z_][\w.]*)")
# They begin a ready= or reset= of another kind.
_RESERVED = {"log", "exec", "restart", "none"}
_FORMS = {
    "name:port": "a TCP port inside the container, such as http:8025; the first is the service's"
    " own",
    "ready=": "a port's name; http:/path, or 204,http:/path; log:regular expression; exec:command",
    "reset=": "DELETE,http:/path; exec:command; package.module:function; restart",
    "env.NAME=": "an environment variable",
    "file./path=": "a file of this project, by its absolute path in the container",
    "command=": "arguments for the image's entry point",
    "depends_on=": "names of other services, with commas: they are ready before it, and it finds"
    " them by name",
    "scope=": "run, worker or test: who shares a server",
}


def parse(line: str, root: Path, origin: str) -> Declaration:
    """Return what a line declares.

    Args:
        line: The line.
        root: Directory that paths are relative to.
        origin: Where it is set.

    Raises:
        SettingsError: It says something that cannot be used; the error says what it may hold.
    """
    try:
        return _parse(line[:], root, origin)
    except ValueError as error:
        raise SettingsError(
            f"berth_services has a line that cannot be used: {error}.",
            why=f"'{line}', set by {origin}",
            remedy="\n".join(
                [f"write lines such as {EXAMPLE}", *(f"{a}  {_FORMS[a]}" for a in _FORMS)]
            ),
        ) from None


def _parse(line: str, root: Path, origin: str) -> Declaration:
    name, equals, rest = (part.strip() for part in line.partition("="))
    if not equals or not re.fullmatch(NAME, name):
        raise ValueError("it begins with no name of small letters, digits and _, and =")
    image, *words = shlex.split(rest) or [""]
    if not image or "=" in image:
        raise ValueError("no image comes first")
    ports, values = _apart(words)
    environment = {key[4:]: value for key, value in values.items() if key.startswith("env.")}
    files = {key[5:]: root / value for key, value in values.items() if key.startswith("file.")}
    for inside, path in files.items():
        if not inside.startswith("/") or not path.is_file():
            raise ValueError(f"file.{inside}={path} is no absolute path with a file that is there")
    return Declaration(
        name,
        image,
        ports,
        f"berth_services ({origin})",
        ready_of(values["ready"], ports) if "ready" in values else None,
        reset_of(values.get("reset", "none"), ports),
        environment,
        tuple(shlex.split(values.get("command", ""))),
        files,
        {},
        parse_scope(values["scope"]) if "scope" in values else "",
        depends_on={each: each for each in values.get("depends_on", "").split(",") if each},
    )


def _apart(words: Sequence[str]) -> tuple[dict[str, int], dict[str, str]]:
    """Return the ports by name, and the settings by what stands before ``=``."""
    ports: dict[str, int] = {}
    values: dict[str, str] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            _require_known(key, word)
        found, known = (values, key) if equals else (ports, word.partition(":")[0])
        if known in found:
            raise ValueError(f"{known!r} is there twice")
        if equals:
            values[key] = value
        else:
            ports[known] = _port(word)
    if not ports:
        raise ValueError("it names no port")
    return ports, values


def _require_known(key: str, word: str) -> None:
    known = {form.rstrip("=") for form in _FORMS if form.endswith("=") and "." not in form}
    prefix, dot, name = key.partition(".")
    if key not in known and not (dot and name and prefix in {"env", "file"}):
        raise ValueError(f"{word.partition('=')[0]!r} is unknown, {nearest(key, known)}")


def _port(word: str) -> int:
    match = _PORT.fullmatch(word)
    number = int(match["number"]) if match else 0
    if not match or not 0 < number < 65536 or match["name"] in _RESERVED:
        raise ValueError(f"{word!r} is no port, such as http:8025")
    return number


def ready_of(text: str, ports: Mapping[str, int]) -> Check:
    """Return what ``ready=`` says.

    Raises:
        ValueError: It is none of its forms, or names a port that is not there.
    """
    kind, colon, rest = text.partition(":")
    if colon and kind == "log" and rest:
        try:
            return ready.LogShows(re.compile(rest))
        except re.error as error:
            raise ValueError(f"ready={text} is no regular expression ({error})") from None
    if colon and kind == "exec" and rest:
        return ready.CommandSucceeds(tuple(shlex.split(rest)))
    if match := _HTTP.fullmatch(text):
        status = int(match["status"] or 0)
        return ready.HttpAnswers(_known(match["port"], ports), match["path"], status)
    if colon:
        raise ValueError(f"ready={text} is none of its forms")
    return ready.PortAnswers(_known(text, ports))


def reset_of(text: str, ports: Mapping[str, int]) -> Reset | None:
    """Return what ``reset=`` says; None for ``none``.

    Raises:
        ValueError: It is none of its forms, or names a port that is not there.
    """
    kind, _, rest = text.partition(":")
    if text in {"restart", "none"}:
        return reset.Restart() if text == "restart" else None
    if kind == "exec" and rest:
        return reset.Command(tuple(shlex.split(rest)))
    if match := _REQUEST.fullmatch(text):
        _known(match["port"], ports)
        return reset.Request(match["method"], match["port"], match["path"])
    if match := _FUNCTION.fullmatch(text):
        return reset.Function(match["module"], match["name"])
    raise ValueError(f"reset={text} is none of its forms")


def _known(port: str, ports: Mapping[str, int]) -> int:
    if port not in ports:
        raise ValueError(f"it has no port {port!r}, {nearest(port, ports)}")
    return ports[port]
