"""Placing an order: what happens in which order, and what is taken back when a step fails."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated
from uuid import UUID

import httpx
from pydantic import BaseModel, Field, PositiveInt
from redis import Redis
from sqlalchemy.orm import Session

from order_flow import outbox, payments, stock
from order_flow.errors import UnknownProductError
from order_flow.events import ORDER_CREATED, OrderCreated
from order_flow.models import Order, OrderItem, Product

# Postgres keeps no NUL in a text.
Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]


class NewOrder(BaseModel):
    id: UUID = Field(description="Made by the client: sent again, an order is still one order")
    customer: Text
    quantities: dict[str, PositiveInt] = Field(min_length=1, description="SKU: pieces")
    note: Text = Field("", max_length=100_000)


@dataclass(frozen=True)
class Checkout:
    session: Session
    redis: Redis
    payment_service: httpx.Client

    def place(self, new: NewOrder) -> Order:
        """Place an order, once, however often it is sent; raise an `OrderError` if that fails."""
        with stock.placing(self.redis, new.id):
            return self.session.get(Order, new.id) or self._place(self._priced(new))

    def _place(self, order: Order) -> Order:
        quantities = {item.sku: item.quantity for item in order.items}
        self.session.commit()  # No transaction waits for the payment.
        with stock.taken(self.redis, quantities):
            payments.charge(self.payment_service, order.id, order.total)
            created = OrderCreated(
                order_id=order.id,
                customer=order.customer,
                quantities=quantities,
                total=order.total,
                note=order.note,
            )
            self.session.add_all([order, outbox.event(ORDER_CREATED, order.id, created)])
            self.session.commit()
        return order

    def _priced(self, new: NewOrder) -> Order:
        return Order(
            id=new.id,
            customer=new.customer,
            note=new.note,
            items=[
                OrderItem(sku=sku, quantity=pieces, unit_price=self._price(sku))
                for sku, pieces in new.quantities.items()
            ],
        )

    def _price(self, sku: str) -> Decimal:
        product = self.session.get(Product, sku)
        if product is None:
            raise UnknownProductError
        return product.price
