"""Tests of a WireMock that holds what a session fixture has stubbed."""

from __future__ import annotations

import os
from contextlib import closing

import pytest

from pytest_berth import WireMock

TESTS = range(int(os.environ["BENCHMARK_TESTS"]))


@pytest.fixture(scope="session", autouse=True)
def _records(wiremock_url: str) -> None:
    with closing(WireMock(wiremock_url)) as client:
        for number in range(int(os.environ["BENCHMARK_RECORDS"])):
            client.stub_for("GET", f"/records/{number}")


@pytest.mark.parametrize("number", TESTS)
def test_untouched(wiremock_client: WireMock, number: int) -> None:
    assert wiremock_client.requests() == []


@pytest.mark.parametrize("number", TESTS)
def test_small(wiremock_client: WireMock, number: int) -> None:
    wiremock_client.stub_for("GET", "/records/new")
