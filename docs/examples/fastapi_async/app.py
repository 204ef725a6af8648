"""Registers users, through an async engine of its own, with asyncpg and a pool."""

import os
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

engine = create_async_engine(os.environ["DATABASE_URL"])
app = FastAPI()


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)


async def get_session() -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine) as session:
        yield session


Database = Annotated[AsyncSession, Depends(get_session)]


@app.post("/users/{email}", status_code=201)
async def register(email: str, session: Database) -> int:
    user = User(email=email)
    session.add(user)
    try:
        await session.flush()
    except IntegrityError:
        raise HTTPException(409, "This address is registered already.") from None
    number = user.id
    await session.commit()
    return number


@app.get("/users")
async def list_emails(session: Database) -> list[str]:
    return list(await session.scalars(select(User.email).order_by(User.email)))
