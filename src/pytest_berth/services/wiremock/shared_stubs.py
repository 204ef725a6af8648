"""How the stubs of a worker stay apart on a WireMock that others use, too.

The worker's address has a path of its own, ``http://host:8080/berth_k3x9_gw0``, and its stubs match
below it and nothing else: they answer nobody else's requests. Their metadata says whose they are.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.services.wiremock.admin import Admin

OWNER = "berth"
_EXACT = ("url", "urlPath", "urlPathTemplate")
_PATTERNS = ("urlPattern", "urlPathPattern")


class Place:
    """What a worker has of a WireMock: all of it, or what lies below a path.

    Args:
        namespace: The worker's name; empty where it has the server for itself.
    """

    def __init__(self, namespace: str = "") -> None:
        self.namespace = namespace
        self.path = f"/{namespace}" if namespace else ""

    @property
    def is_shared(self) -> bool:
        """Whether others use the server, too."""
        return bool(self.namespace)

    def own_request(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Return a request pattern that matches below the path what the given one matches."""
        if not self.is_shared:
            return dict(request)
        own = {
            name: self.path + value
            if name in _EXACT
            else f"{re.escape(self.path)}(?:{value})"
            if name in _PATTERNS
            else value
            for name, value in request.items()
        }
        if not {*_EXACT, *_PATTERNS} & own.keys():
            own["urlPathPattern"] = self.below
        return own

    @property
    def below(self) -> str:
        """The regular expression of all paths that are the worker's."""
        return f"{re.escape(self.path)}(?:/.*)?"

    def own_stub(self, stub: Mapping[str, Any]) -> dict[str, Any]:
        """Return a stub as it is stored: below the path, with another id, and marked as ours."""
        if not self.is_shared:
            return dict(stub)
        own: dict[str, Any] = {**stub, "request": self.own_request(stub.get("request", {}))}
        own["metadata"] = {**stub.get("metadata", {}), OWNER: self.namespace}
        own["persistent"] = False  # others' server must not keep it
        if "id" in stub or "uuid" in stub:
            given = stub.get("id") or stub["uuid"]
            own["id"] = own["uuid"] = str(uuid5(NAMESPACE_URL, f"{self.namespace} {given}"))
        if "scenarioName" in stub:  # scenarios go by their names
            own["scenarioName"] = f"{self.namespace} {stub['scenarioName']}"
        return own

    def owns(self, stub: Mapping[str, Any]) -> bool:
        """Tell whether a stub on the server is the worker's."""
        return not self.is_shared or stub.get("metadata", {}).get(OWNER) == self.namespace

    def shown(self, url: str) -> str:
        """Return the path of a request, or of a stub, as tests know it."""
        return url.replace(re.escape(self.path), "").removeprefix(self.path) if self.path else url


def release(admin: Admin, run_id: str) -> None:
    """Remove the stubs of all workers of a run, and what they have received."""
    of_run = f"berth_{run_id}_[A-Za-z0-9]+"
    pattern = {"matchesJsonPath": {"expression": f"$.{OWNER}", "matches": of_run}}
    admin.post("/mappings/remove-by-metadata", pattern)
    admin.post("/requests/remove", {"urlPathPattern": f"/{of_run}(?:/.*)?"})
