"""What is told on Kafka."""

from decimal import Decimal
from uuid import UUID

from pydantic import BaseModel, PositiveInt

ORDER_CREATED = "order.created"
DEAD_LETTERS = "order.created.dead"


class OrderCreated(BaseModel):
    order_id: UUID
    customer: str
    quantities: dict[str, PositiveInt]
    total: Decimal
    note: str
