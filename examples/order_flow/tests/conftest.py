"""The application's own fixtures, built upon those of pytest-berth."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import Popen

import pytest
import respx
from fastapi.testclient import TestClient

from order_flow import connections, kafka
from order_flow.api import app
from order_flow.events import ORDER_CREATED
from order_flow.warehouse import GROUP

PROJECT = Path(__file__).parents[1]
STARTED_WITHIN = 60


@pytest.fixture(scope="session")
def warehouse_process(pg_url: str, kafka_bootstrap: str) -> Iterator[None]:
    """The consumer process; `berth_export` has told its environment where everything is."""
    with Popen([sys.executable, "-m", "order_flow.warehouse"], cwd=PROJECT) as process:
        yield
        process.terminate()


@pytest.fixture
def warehouse_catches_up(warehouse_process: None, kafka_probe) -> Iterator[Callable[[], None]]:
    """Waits until the warehouse has handled all events; the test's end waits for that, too."""

    def wait() -> None:
        kafka_probe.wait_caught_up(kafka.name(GROUP), ORDER_CREATED)

    kafka_probe.wait_assigned(kafka.name(GROUP), ORDER_CREATED, timeout=STARTED_WITHIN)
    yield wait
    wait()


@pytest.fixture(scope="session")
def api(pg_url: str, redis_url: str, kafka_bootstrap: str) -> Iterator[TestClient]:
    """The application, started once."""
    with TestClient(app) as client:
        yield client


@pytest.fixture
def client(api: TestClient, warehouse_catches_up: Callable[[], None]) -> TestClient:
    """The application, with the warehouse behind it."""
    return api


@pytest.fixture
def payment_service() -> Iterator[respx.MockRouter]:
    """The payment service, stubbed: a request that the test has not foreseen is an error."""
    with respx.mock(base_url=connections.payment_service().base_url) as router:
        yield router
