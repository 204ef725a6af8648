"""The provider's API; it commits, and has an engine of its own."""

import os
from functools import cache

from fastapi import FastAPI, HTTPException
from sqlalchemy import Engine, create_engine
from sqlalchemy.orm import Session

from orders.models import Order, User

app = FastAPI()


@cache
def engine() -> Engine:
    """Return the engine of the database that the environment names."""
    return create_engine(os.environ["DATABASE_URL"])


@app.get("/users/{user_id}/orders")
def list_orders(user_id: int) -> list[dict[str, int]]:
    """Return the orders of a user."""
    with Session(engine()) as session:
        user = session.get(User, user_id)
        if user is None:
            raise HTTPException(404, "there is no such user")
        return [{"id": order.id, "total": order.total} for order in user.orders]


@app.post("/users/{user_id}/orders", status_code=201)
def place_order(user_id: int, total: int) -> dict[str, int]:
    """Place an order for a user."""
    with Session(engine()) as session, session.begin():
        order = Order(user_id=user_id, total=total)
        session.add(order)
        session.flush()
        return {"id": order.id, "total": order.total}


def placed(order: Order) -> dict[str, object]:
    """Return the message that tells others of an order."""
    return {"type": "order.placed", "order": order.id, "user": order.user_id, "total": order.total}
