"""The HTTP interface."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Annotated
from uuid import UUID

from fastapi import BackgroundTasks, Depends, FastAPI, Request, status
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict

from order_flow import connections, kafka, outbox
from order_flow.checkout import Checkout, NewOrder
from order_flow.errors import OrderError
from order_flow.models import Order


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    with kafka.producer() as app.state.producer:
        yield


app = FastAPI(title="order flow", lifespan=lifespan)


class Placed(BaseModel):
    model_config = ConfigDict(from_attributes=True)
    id: UUID
    total: Decimal


def get_checkout() -> Iterator[Checkout]:
    with connections.sessions()() as session:
        yield Checkout(session, connections.redis(), connections.payment_service())


@app.post("/orders", status_code=status.HTTP_201_CREATED, response_model=Placed)
def place_order(
    new: NewOrder,
    checkout: Annotated[Checkout, Depends(get_checkout)],
    request: Request,
    later: BackgroundTasks,
) -> Order:
    order = checkout.place(new)
    # Once the answer is out. What is left even so, `python -m order_flow.outbox` publishes.
    later.add_task(outbox.publish, connections.sessions(), request.app.state.producer)
    return order


@app.exception_handler(OrderError)
def not_placed(_request: Request, error: OrderError) -> JSONResponse:
    return JSONResponse({"detail": error.detail}, error.status)
