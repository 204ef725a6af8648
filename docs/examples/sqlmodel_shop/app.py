"""Sells products, with SQLModel; the session is given by the caller."""

from sqlmodel import Field, Session, SQLModel, select


class Product(SQLModel, table=True):
    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    stock: int


def add(session: Session, name: str, stock: int) -> Product:
    product = Product(name=name, stock=stock)
    session.add(product)
    session.commit()
    return product


def sell(session: Session, name: str) -> int:
    query = select(Product).where(Product.name == name).with_for_update()
    product = session.exec(query).one()
    product.stock -= 1
    left = product.stock
    session.commit()
    return left
