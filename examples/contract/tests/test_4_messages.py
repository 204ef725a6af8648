"""What the provider tells others keeps to the schema that they have agreed on."""

import json
from pathlib import Path

import pytest
from factories import OrderFactory
from jsonschema import Draft202012Validator, ValidationError
from orders.api import placed
from sqlalchemy.orm import Session

SCHEMA = json.loads((Path(__file__).parent / "schemas/order-placed.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def schema() -> Draft202012Validator:
    """Give the schema, which is one itself."""
    Draft202012Validator.check_schema(SCHEMA)
    return Draft202012Validator(SCHEMA)


def test_an_order_is_told_as_agreed(pg_session: Session, schema: Draft202012Validator) -> None:
    schema.validate(json.loads(json.dumps(placed(OrderFactory()))))


def test_a_negative_total_is_not(pg_session: Session, schema: Draft202012Validator) -> None:
    with pytest.raises(ValidationError, match="less than the minimum"):
        schema.validate(placed(OrderFactory(total=-1)))
