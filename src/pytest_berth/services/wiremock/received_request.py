"""A request that a WireMock has received, and how it differs from what was expected."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pytest_berth.services.wiremock.restore import describe_request
from pytest_berth.shown_values import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pytest_berth.services.wiremock.shared_stubs import Place

_EXACT = ("url", "urlPath")
_FURTHER = ("queryParameters", "cookies", "formParameters", "multipartPatterns")
_PATTERNS = ("urlPattern", "urlPathPattern", "urlPathTemplate")


@dataclass(frozen=True)
class ReceivedRequest:
    """A request that the server has received.

    Attributes:
        method: Such as ``"POST"``.
        url: Path and query: ``"/charges?page=2"``.
        headers: Values by name in lower case; the first one, where there are several.
        body: What was sent.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes

    @property
    def path(self) -> str:
        """The URL without its query."""
        return self.url.partition("?")[0]

    @property
    def text(self) -> str:
        """The body as text."""
        return self.body.decode(errors="replace")

    def json(self) -> Any:
        """Return what the body is as JSON.

        Raises:
            ValueError: It is none.
        """
        return json.loads(self.body)

    def __str__(self) -> str:
        body = f" {shown(self.body)}" if self.body else ""
        return f"{self.method} {self.url}{body}"


def received(told: Mapping[str, Any], place: Place) -> ReceivedRequest:
    """Return a request as the admin API tells it."""
    headers = {
        name.lower(): value[0] if isinstance(value, list) else value
        for name, value in told.get("headers", {}).items()
    }
    body = base64.b64decode(told.get("bodyAsBase64") or "")
    return ReceivedRequest(told["method"], place.shown(told["url"]), headers, body)


def differences(pattern: Mapping[str, Any], request: ReceivedRequest, place: Place) -> list[str]:
    """Return in what a request differs from a pattern, as far as that can be told in a line."""
    return list(_differences(pattern, request, place))


def _differences(
    pattern: Mapping[str, Any], request: ReceivedRequest, place: Place
) -> Iterator[str]:
    method = pattern.get("method", "ANY")
    if method not in {"ANY", request.method}:
        yield f"method: {method} expected, was {request.method}"
    for name in _EXACT:
        there = request.url if name == "url" else request.path
        if name in pattern and place.shown(pattern[name]) != there:
            yield f"{name}: {place.shown(pattern[name])} expected, was {there}"
    for name in _PATTERNS:
        if name in pattern and pattern[name] != place.below:
            yield f"{name}: {place.shown(pattern[name])} expected, the URL was {request.url}"
    for name, expected in pattern.get("headers", {}).items():
        sent = request.headers.get(name.lower())
        wanted = expected.get("equalTo", expected) if isinstance(expected, dict) else expected
        if sent != wanted:
            was = "is missing" if sent is None else f"was {shown(sent, name=name)}"
            yield f"header {name}: {shown(wanted, name=name)} expected, {was}"
    for expected in pattern.get("bodyPatterns", ()):
        yield from _body_differences(expected, request)


def _body_differences(expected: Mapping[str, Any], request: ReceivedRequest) -> Iterator[str]:
    wanted = _expected_body(expected)
    if "equalToJson" not in expected:
        if expected.get("equalTo") != request.text:
            yield f"body: {shown(wanted)} expected, was {shown(request.body)}"
        return
    try:
        there = request.json()
    except ValueError:
        yield f"body: JSON expected, was {shown(request.body)}"
        return
    if wanted == there:
        return
    if not isinstance(wanted, dict) or not isinstance(there, dict):
        yield f"body: {shown(wanted)} expected, was {shown(there)}"
        return
    for name in dict.fromkeys([*wanted, *there]):
        if name not in there:
            yield f"body: {name} is missing, {shown(wanted[name], name=name)} was expected"
        elif name not in wanted:
            if not expected.get("ignoreExtraElements"):
                yield f"body: {name} was not expected, was {shown(there[name], name=name)}"
        elif wanted[name] != there[name]:
            about = (
                f"{shown(wanted[name], name=name)} expected, was {shown(there[name], name=name)}"
            )
            yield f"body: {name}: {about}"


def _expected_body(expected: Mapping[str, Any]) -> Any:
    """Return the JSON that a pattern asks for, which may be a text; else the pattern."""
    wanted = expected.get("equalToJson", dict(expected))
    if not isinstance(wanted, str):
        return wanted
    try:
        return json.loads(wanted)
    except ValueError:
        return wanted


def describe_pattern(pattern: Mapping[str, Any], place: Place) -> str:
    """Return what a request pattern matches, in one line."""
    rest = [
        f"header {name} {shown(expected.get('equalTo', expected), name=name)}"
        for name, expected in pattern.get("headers", {}).items()
    ]
    rest += [f"body {shown(_expected_body(each))}" for each in pattern.get("bodyPatterns", ())]
    rest += [f"{name} {shown(pattern[name])}" for name in _FURTHER if name in pattern]
    return describe_request(pattern, place) + (f" with {', '.join(rest)}" if rest else "")
