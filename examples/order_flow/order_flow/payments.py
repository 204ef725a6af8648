"""The payment service, which is somebody else's."""

from decimal import Decimal
from uuid import UUID

import httpx

from order_flow.errors import PaymentRefusedError, PaymentUnclearError


def charge(service: httpx.Client, order_id: UUID, amount: Decimal) -> None:
    """Charge an order; the service charges it once, however often it is asked to."""
    try:
        answer = service.post(
            "/charges",
            json={"order": str(order_id), "amount": str(amount), "currency": "EUR"},
            headers={"Idempotency-Key": str(order_id)},
        )
        if answer.status_code == httpx.codes.PAYMENT_REQUIRED:
            raise PaymentRefusedError
        answer.raise_for_status()
    except httpx.HTTPError as error:
        raise PaymentUnclearError from error
