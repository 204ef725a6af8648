"""All queries of the shop. A repository flushes; its caller decides when to commit."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import NamedTuple

from sqlalchemy import select, text
from sqlalchemy.orm import Session, selectinload

from shop.models import Customer, Order, OrderItem, Product, sales_per_product
from shop.pricing import unit_price


class Sales(NamedTuple):
    name: str
    pieces: int
    revenue: Decimal


class ShopRepository:
    def __init__(self, session: Session) -> None:
        self.session = session

    def add_customer(self, email: str, name: str) -> Customer:
        customer = Customer(email=email, name=name)
        self.session.add(customer)
        self.session.flush()
        return customer

    def find_customer(self, email: str) -> Customer | None:
        return self.session.scalars(select(Customer).filter_by(email=email)).one_or_none()

    def add_product(self, name: str, price: Decimal, stock: int = 0) -> Product:
        product = Product(name=name, price=price, stock=stock)
        self.session.add(product)
        self.session.flush()
        return product

    def get_product(self, product_id: int) -> Product:
        """Return the product, or raise `sqlalchemy.exc.NoResultFound`."""
        return self.session.get_one(Product, product_id)

    def list_products(self) -> Sequence[Product]:
        return self.session.scalars(select(Product).order_by(Product.name)).all()

    def delete_product(self, product: Product) -> None:
        self.session.delete(product)
        self.session.flush()

    def place_order(self, customer_id: int, quantities: Mapping[int, int]) -> Order:
        """Order *quantities* (product id: pieces); a trigger takes them out of stock."""
        order = Order(customer=self.session.get_one(Customer, customer_id))
        # Always in the same order, so that two orders of the same products cannot deadlock.
        for product_id, quantity in sorted(quantities.items()):
            product = self.get_product(product_id)
            price = unit_price(product.price, quantity)
            order.items.append(OrderItem(product=product, quantity=quantity, unit_price=price))
        self.session.add(order)
        self.session.flush()
        for item in order.items:
            self.session.expire(item.product, ["stock"])  # The trigger has changed it.
        return order

    def list_orders(self, customer_id: int) -> Sequence[Order]:
        """Return a customer's orders, the latest first; their items come with them."""
        query = select(Order).filter_by(customer_id=customer_id).order_by(Order.placed_at.desc())
        return self.session.scalars(query.options(selectinload(Order.items))).all()

    def refresh_sales(self) -> None:
        self.session.execute(text("REFRESH MATERIALIZED VIEW sales_per_product"))

    def list_sales(self) -> list[Sales]:
        """Return the sales as of the last refresh, the best seller first."""
        view = sales_per_product.c
        query = select(view.name, view.pieces, view.revenue).order_by(view.revenue.desc())
        return [Sales(*row) for row in self.session.execute(query)]
