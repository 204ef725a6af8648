"""What the consumer expects of the provider: this test writes the pact. No server is needed."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from contract import PACT
from pact import Pact, match
from storefront.client import spent


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Give the directory of the pact, which is kept when this module's tests have ended."""
    directory = tmp_path_factory.mktemp("pacts")
    yield directory
    PACT.write_text((directory / PACT.name).read_text("utf-8"), "utf-8")


@pytest.fixture
def pact(written: Path) -> Iterator[Pact]:
    """Give a pact for one expectation, which is added to the file when it was met."""
    made = Pact("storefront", "orders").with_specification("V4")
    yield made
    made.write_file(written)


def test_a_user_with_orders(pact: Pact) -> None:
    order = {"id": match.int(1), "total": match.int(25)}
    (
        pact.upon_receiving("the orders of a user who has some")
        .given("user 123 has orders")
        .with_request("GET", "/users/123/orders")
        .will_respond_with(200)
        .with_body(match.each_like(order, min=1), content_type="application/json")
    )
    with pact.serve() as provider:
        assert spent(str(provider.url), 123) == 25


def test_an_unknown_user(pact: Pact) -> None:
    (
        pact.upon_receiving("the orders of a user who is not known")
        .given("there is no user 404")
        .with_request("GET", "/users/404/orders")
        .will_respond_with(404)
    )
    with pact.serve() as provider:
        assert spent(str(provider.url), 404) is None
