"""The HTTP interface."""

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException, Request, status
from fastapi.responses import JSONResponse
from psycopg import Error as PostgresError
from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from sqlalchemy.exc import IntegrityError, NoResultFound
from sqlalchemy.orm import Session

from shop.db import get_db
from shop.models import Customer, Order, Product
from shop.repository import ShopRepository

app = FastAPI(title="shop")
Db = Annotated[Session, Depends(get_db)]

CONFLICTS = {
    "uq_customers_email": "This email address is already registered.",
    "ck_products_stock": "Not that many are in stock.",
}


class CustomerIn(BaseModel):
    email: str
    name: str


class CustomerOut(CustomerIn):
    model_config = ConfigDict(from_attributes=True)
    id: int


class ProductOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    name: str
    price: Decimal
    stock: int


class OrderIn(BaseModel):
    customer_id: int
    quantities: dict[int, PositiveInt] = Field(min_length=1, description="Product id: pieces")


class OrderOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: int
    total: Decimal


@app.post("/customers", status_code=status.HTTP_201_CREATED, response_model=CustomerOut)
def create_customer(new: CustomerIn, db: Db) -> Customer:
    with committing(db):
        return ShopRepository(db).add_customer(new.email, new.name)


@app.get("/products/{product_id}", response_model=ProductOut)
def get_product(product_id: int, db: Db) -> Product:
    return ShopRepository(db).get_product(product_id)


@app.post("/orders", status_code=status.HTTP_201_CREATED, response_model=OrderOut)
def place_order(new: OrderIn, db: Db) -> Order:
    with committing(db):
        return ShopRepository(db).place_order(new.customer_id, new.quantities)


@app.exception_handler(NoResultFound)
def not_found(_request: Request, _error: Exception) -> JSONResponse:
    return JSONResponse({"detail": "Not found."}, status.HTTP_404_NOT_FOUND)


@contextmanager
def committing(db: Session) -> Iterator[None]:
    """Commit after the block; a constraint that was broken is answered with 409 Conflict."""
    try:
        yield
        db.commit()
    except IntegrityError as error:
        db.rollback()
        detail = CONFLICTS.get(_broken_constraint(error))
        if detail is None:
            raise
        raise HTTPException(status.HTTP_409_CONFLICT, detail) from error


def _broken_constraint(error: IntegrityError) -> str:
    cause = error.orig
    return (isinstance(cause, PostgresError) and cause.diag.constraint_name) or ""
