"""Migrates its database whenever it starts, and registers users."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from alembic import command
from alembic.config import Config
from fastapi import FastAPI
from sqlalchemy import create_engine, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

engine = create_engine(os.environ["DATABASE_URL"])


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    command.upgrade(Config(Path(__file__).with_name("alembic.ini")), "head")
    yield


app = FastAPI(lifespan=lifespan)


@app.post("/users/{email}", status_code=201)
def register(email: str) -> int:
    with Session(engine) as session:
        user = User(email=email)
        session.add(user)
        session.commit()
        return user.id


@app.get("/users")
def list_emails() -> list[str]:
    with Session(engine) as session:
        return list(session.scalars(select(User.email).order_by(User.email)))
