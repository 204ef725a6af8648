"""Messages in Avro: what the provider writes by its schema, the consumer reads by its own."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from factories import OrderFactory
from fastavro import parse_schema, schemaless_reader, schemaless_writer
from fastavro.read import SchemaResolutionError
from orders.api import placed
from sqlalchemy.orm import Session


def schema(name: str, **changed: object) -> Any:
    """Return a schema that one of both sides keeps."""
    text = (Path(__file__).parent / "schemas" / name).read_text("utf-8")
    return parse_schema({**json.loads(text), **changed})


PROVIDER, CONSUMER = schema("order-placed.avsc"), schema("order-placed.storefront.avsc")


def written(message: dict[str, object], by: Any = PROVIDER) -> bytes:
    """Return a message as the provider sends it; strict: with all fields, and no others."""
    out = BytesIO()
    schemaless_writer(out, by, message, strict=True)
    return out.getvalue()


def test_the_consumer_reads_an_order_as_it_was_placed(pg_session: Session) -> None:
    order = OrderFactory(total=25)
    sent = BytesIO(written(placed(order)))
    read = schemaless_reader(sent, PROVIDER, CONSUMER)
    assert read == {"user": order.user_id, "total": 25, "currency": "EUR"}


def test_the_provider_cannot_leave_out_what_the_consumer_needs() -> None:
    fields = [each for each in PROVIDER["fields"] if each["name"] != "total"]
    without = schema("order-placed.avsc", fields=fields)
    sent = BytesIO(written({"type": "order.placed", "order": 1, "user": 1}, by=without))
    with pytest.raises(SchemaResolutionError, match="total"):
        schemaless_reader(sent, without, CONSUMER)


@pytest.mark.parametrize("change", [{"total": "25"}, {"note": "as a gift"}])
def test_a_message_that_differs_from_the_schema_is_not_sent(change: dict[str, object]) -> None:
    with pytest.raises((ValueError, TypeError)):
        written({"type": "order.placed", "order": 1, "user": 1, "total": 25, **change})
