"""WireMock passes what every service has to, on each source."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pytest_berth.services.wiremock.service import WIREMOCK
from pytest_berth.testing import ServiceConformance

if TYPE_CHECKING:
    from collections.abc import Mapping


class TestWireMock(ServiceConformance):
    """A stub is there where its URL answers with it, as for an application."""

    service = WIREMOCK
    fixtures = ("wiremock_client",)
    files: ClassVar[Mapping[str, str]] = {
        "application.py": """
            from urllib.error import HTTPError
            from urllib.request import urlopen

            def is_answered(url):
                try:
                    with urlopen(f"{url}/charges") as answer:
                        return answer.status == 202
                except HTTPError as error:
                    assert error.code == 404
                    return False
        """
    }
    write = "wiremock_client.stub_for('GET', '/charges', status=202)"
    read = "__import__('application').is_answered(wiremock_client.url)"
    wide_write = (
        "__import__('pytest_berth').WireMock(wiremock_url).stub_for('GET', '/charges', status=202)"
    )
    server_url = "f'http://{place.host}:{place.port}'"
    restores = True
