"""The tables."""

from datetime import datetime
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from sqlalchemy import CheckConstraint, DateTime, ForeignKey, Identity, Numeric, func
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

Money = Annotated[Decimal, mapped_column(Numeric(10, 2))]
Now = Annotated[datetime, mapped_column(DateTime(timezone=True), server_default=func.now())]


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "products"

    sku: Mapped[str] = mapped_column(primary_key=True)
    price: Mapped[Money]


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    customer: Mapped[str]
    note: Mapped[str]
    placed_at: Mapped[Now]

    items: Mapped[list["OrderItem"]] = relationship(order_by="OrderItem.sku")

    @property
    def total(self) -> Decimal:
        return sum((item.quantity * item.unit_price for item in self.items), Decimal())


class OrderItem(Base):
    __tablename__ = "order_items"
    __table_args__ = (CheckConstraint("quantity > 0"),)

    order_id: Mapped[UUID] = mapped_column(ForeignKey(Order.id), primary_key=True)
    sku: Mapped[str] = mapped_column(ForeignKey(Product.sku), primary_key=True)
    quantity: Mapped[int]
    unit_price: Mapped[Money]


class OutboxEvent(Base):
    """An event that Kafka does not have yet."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    topic: Mapped[str]
    key: Mapped[str]
    value: Mapped[bytes]


class Shipment(Base):
    """What the warehouse has made of an order: one, however often it is told."""

    __tablename__ = "shipments"

    order_id: Mapped[UUID] = mapped_column(ForeignKey(Order.id), primary_key=True)
    pieces: Mapped[int]
    note: Mapped[str]
    packed_at: Mapped[Now]
