"""What tests stub, and look at, a WireMock with: the fixture ``wiremock_client``."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast
from urllib.parse import quote, urlsplit

from pytest_berth.api import Credentials, Server
from pytest_berth.debug_log import ignoring
from pytest_berth.services.wiremock.admin import Admin, Question
from pytest_berth.services.wiremock.received_request import (
    ReceivedRequest,
    describe_pattern,
    differences,
    received,
)
from pytest_berth.services.wiremock.shared_stubs import Place
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_NOTHING: Any = object()
_MOST_TOLD = 3


class HasJson(Protocol):
    """A stub as the package ``wiremock`` has it: its class ``Mapping``."""

    def get_json_data(self) -> Any:
        """Return the stub as JSON has it."""


Stub: TypeAlias = "Mapping[str, Any] | HasJson"


class WireMock:
    """Stubs the service that the application calls, and tells what it has called.

    Each call is one request to the server, over a connection that stays open; it may be used by
    several threads, and in coroutines: an answer takes less than a millisecond.

    Args:
        url: What the fixture ``wiremock_url`` has given.
        server: The server, where its admin API asks for more than the URL tells.

    Attributes:
        url: The address that the application has to call.
    """

    def __init__(self, url: str, *, server: Server | None = None) -> None:
        self.url = url.rstrip("/")
        self._admin = Admin(server or _server(url))
        self._place = Place(urlsplit(url).path.strip("/"))

    def stub_for(
        self,
        method: str,
        path: str = "",
        *,
        status: int = 200,
        json: object = _NOTHING,
        body: str = "",
        headers: Mapping[str, str] | None = None,
        request: Mapping[str, Any] | None = None,
        response: Mapping[str, Any] | None = None,
        **stub: Any,
    ) -> str:
        """Answer requests from now on; the newest stub that matches answers.

        Args:
            method: Such as ``"POST"``; ``"ANY"`` for all.
            path: Without a query it matches whatever query there is; ``/orders/{id}`` matches any
                such path; left out where *request* has a pattern, or for all.
            status: Of the answer.
            json: Its body, as JSON.
            body: Its body, as text.
            headers: Its headers.
            request: Further members of the request pattern: ``{"bodyPatterns": [...]}``.
            response: Further members of the answer: ``{"fixedDelayMilliseconds": 50}``.
            **stub: Further members of the stub: ``priority=1``, ``scenarioName="retry"``.

        Returns:
            The stub's id.

        Raises:
            AdminError: WireMock does not understand it.
        """
        answer: dict[str, Any] = {"status": status}
        if json is not _NOTHING:
            answer["jsonBody"] = json
            answer["headers"] = {"Content-Type": "application/json"}
        if body:
            answer["body"] = body
        if headers:
            answer["headers"] = {**answer.get("headers", {}), **headers}
        pattern = {**_pattern(method, path), **(request or {})}
        return self.add_stub(
            {"request": pattern, "response": {**answer, **(response or {})}, **stub}
        )

    def add_stub(self, stub: Stub) -> str:
        """Add a stub as WireMock's documentation has it, and return its id.

        Args:
            stub: ``{"request": {...}, "response": {...}}``, or a ``Mapping`` of the package
                ``wiremock``.

        Raises:
            AdminError: WireMock does not understand it.
        """
        given = stub.get_json_data() if hasattr(stub, "get_json_data") else stub
        own = self._place.own_stub(cast("Mapping[str, Any]", given))
        return str(self._admin.post("/mappings", own)["id"])

    def remove_stub(self, stub_id: str) -> None:
        """Remove a stub, by the id that `stub_for` has returned.

        Raises:
            AdminError: There is none.
        """
        self._admin.ask(Question("DELETE", f"/mappings/{quote(stub_id)}"))

    def stubs(self) -> Sequence[Mapping[str, Any]]:
        """Return the stubs that there are, the project's too; the newest one first."""
        return [each for each in self._admin.get("/mappings")["mappings"] if self._place.owns(each)]

    def requests(
        self, method: str = "ANY", path: str = "", *, request: Mapping[str, Any] | None = None
    ) -> Sequence[ReceivedRequest]:
        """Return the requests that this test's application has sent so far, the oldest first.

        Args:
            method: Only those with this method.
            path: Only those to this path, as in `stub_for`.
            request: Further members of the request pattern.
        """
        return self._found({**_pattern(method, path), **(request or {})})

    def unmatched(self) -> Sequence[ReceivedRequest]:
        """Return the requests that no stub has answered, the oldest first."""
        told = self._admin.get("/requests/unmatched")["requests"]
        return self._received(each for each in told if self._is_own(each))

    def verify(
        self,
        method: str,
        path: str = "",
        *,
        count: int | None = None,
        json: object = _NOTHING,
        headers: Mapping[str, str] | None = None,
        request: Mapping[str, Any] | None = None,
        within: float = 0.0,
    ) -> Sequence[ReceivedRequest]:
        """Require that the application has sent a request, and return those that match.

        Args:
            method: Such as ``"POST"``; ``"ANY"`` for all.
            path: As in `stub_for`.
            count: How many there must be; at least one, when left out.
            json: What their body must be, as JSON.
            headers: Headers that they must have.
            request: Further members of the request pattern.
            within: Seconds to wait for them, where the application sends them later.

        Raises:
            AssertionError: There are fewer, or more; it shows the nearest of those that there are,
                and in what they differ.
        """
        __tracebackhide__ = True
        pattern = {**_pattern(method, path), **(request or {})}
        if json is not _NOTHING:
            body = {"equalToJson": json_module.dumps(json)}
            pattern["bodyPatterns"] = [*pattern.get("bodyPatterns", ()), body]
        if headers:
            given = {name: {"equalTo": value} for name, value in headers.items()}
            pattern["headers"] = {**pattern.get("headers", {}), **given}
        found = self._found(pattern)
        if within and not _is_enough(found, count):
            with ignoring(TimeoutError, why="it is told what there is"):
                wait_for(lambda: _is_enough(self._found(pattern), count), within)
            found = self._found(pattern)
        if _is_enough(found, count):
            return found
        raise AssertionError(self._not_verified(pattern, found, count))

    def close(self) -> None:
        """Close the connection; the next call opens another one."""
        self._admin.close()

    def _found(self, pattern: Mapping[str, Any]) -> Sequence[ReceivedRequest]:
        own = self._place.own_request(pattern)
        return self._received(self._admin.post("/requests/find", own)["requests"])

    def _received(self, told: Any) -> Sequence[ReceivedRequest]:
        oldest_first = sorted(told, key=lambda each: each["loggedDate"])
        return [received(each, self._place) for each in oldest_first]

    def _is_own(self, request: Mapping[str, Any]) -> bool:
        path = self._place.path
        return not path or f"{request['url']}/".startswith((f"{path}/", f"{path}?"))

    def _not_verified(
        self, pattern: Mapping[str, Any], found: Sequence[ReceivedRequest], count: int | None
    ) -> str:
        expected = "a request" if count is None else f"{count} request{'s' * (count != 1)}"
        of = len(self._found({"method": "ANY"}))
        what = describe_pattern(pattern, self._place)
        lines = [f"expected {expected} {what}, found {len(found) or 'none'} of {of} received."]
        if found:
            return "\n".join([*lines, *(f"  {each}" for each in found)])
        for near in self._nearest(pattern):
            lines.append(f"  near: {near}")
            lines += [f"    {each}" for each in differences(pattern, near, self._place)]
        return "\n".join(lines)

    def _nearest(self, pattern: Mapping[str, Any]) -> Sequence[ReceivedRequest]:
        own = self._place.own_request(pattern)
        told = self._admin.post("/near-misses/request-pattern", own)["nearMisses"]
        near = [each["request"] for each in told if self._is_own(each["request"])]
        return [received(each, self._place) for each in near[:_MOST_TOLD]]


def _server(url: str) -> Server:
    """Return the server at the URL of a worker's part of it."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    nobody, scheme = Credentials("", "", ""), {"scheme": parts.scheme}
    return Server("wiremock", "external", parts.hostname or "", port, nobody, parameters=scheme)


def _is_enough(found: Sequence[ReceivedRequest], count: int | None) -> bool:
    return bool(found) if count is None else len(found) == count


def _pattern(method: str, path: str) -> dict[str, Any]:
    if not path:
        return {"method": method}
    if not path.startswith("/"):
        raise ValueError(f"a path begins with /, not as {path!r} does")
    kind = "urlPathTemplate" if "{" in path else "url" if "?" in path else "urlPath"
    return {"method": method, kind: path}
