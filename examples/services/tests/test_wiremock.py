"""A payment service that is not there: WireMock stands in for it.

The order is paid by a function that knows nothing of tests: it takes the service's address from the
environment, as in production, where `berth_export` in pytest.ini has put this worker's WireMock.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

if TYPE_CHECKING:
    from pytest_berth import WireMock


class DeclinedError(Exception):
    """The card was declined."""


def pay(order: str, amount: int) -> str:
    """Charge a card, as the application does, and return the id of the charge.

    Raises:
        DeclinedError: The payment service says so.
    """
    charge = json.dumps({"order": order, "amount": amount}).encode()
    headers = {"Content-Type": "application/json", "Idempotency-Key": order}
    request = Request(f"{os.environ['PAYMENTS_URL']}/charges", charge, headers, method="POST")
    try:
        with urlopen(request) as answer:
            return str(json.load(answer)["id"])
    except HTTPError as error:
        if error.code == 402:
            raise DeclinedError(json.load(error)["error"]) from error
        raise


def test_a_charge_goes_through(wiremock_client: WireMock) -> None:
    wiremock_client.stub_for("POST", "/charges", status=201, json={"id": "ch_1"})

    assert pay("order-7", 100) == "ch_1"
    (sent,) = wiremock_client.verify("POST", "/charges", headers={"Idempotency-Key": "order-7"})
    assert sent.json() == {"order": "order-7", "amount": 100}


def test_a_declined_card_is_told_and_charged_once(wiremock_client: WireMock) -> None:
    wiremock_client.stub_for("POST", "/charges", status=402, json={"error": "card_declined"})

    with pytest.raises(DeclinedError, match="card_declined"):
        pay("order-8", 100)
    wiremock_client.verify("POST", "/charges", count=1)


def test_the_project_s_own_stubs_answer_what_a_test_does_not_stub() -> None:
    """They are in ``tests/mappings``; also a test without any fixture gets at them."""
    assert pay("order-9", 42) == "ch_of_the_sandbox"
