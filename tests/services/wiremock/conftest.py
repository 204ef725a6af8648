"""Projects whose WireMock is a local process."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.services.wiremock.service import WIREMOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Project
    from pytest_berth.api import Service

# What an application does, with nothing but the address that it was told.
APPLICATION = """
    import json
    from urllib.error import HTTPError
    from urllib.request import Request, urlopen

    def call(method, url, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = Request(url, data, {"Content-Type": "application/json"}, method=method)
        try:
            with urlopen(request) as answer:
                return answer.status, answer.read().decode()
        except HTTPError as error:
            return error.code, error.read().decode()

    def status(method, url, body=None):
        return call(method, url, body)[0]
"""


@pytest.fixture
def calling(project: Project) -> Project:
    """A project with an application that calls another service."""
    project.write(application=APPLICATION)
    return project


@pytest.fixture
def local(
    calling: Project,
    require_service: Callable[[Service, str], None],
    monkeypatch: pytest.MonkeyPatch,
) -> Project:
    """The same, where WireMock is a local process."""
    require_service(WIREMOCK, "local")
    monkeypatch.setenv("BERTH_WIREMOCK_SOURCE", "local")
    return calling


@pytest.fixture
def write_stub(project: Project) -> Callable[[str, Mapping[str, Any]], None]:
    """Return a function that writes a file of the project's stubs."""

    def write(name: str, content: Mapping[str, Any]) -> None:
        path = project.root / "stubs" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content), encoding="utf-8")

    return write
