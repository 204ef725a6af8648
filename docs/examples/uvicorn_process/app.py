"""Registers users, through an engine of its own."""

import os
from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from sqlalchemy import create_engine, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

engine = create_engine(os.environ["DATABASE_URL"])
app = FastAPI()


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(unique=True)


def get_session() -> Iterator[Session]:
    with Session(engine) as session:
        yield session


Database = Annotated[Session, Depends(get_session)]


@app.post("/users/{email}", status_code=201)
def register(email: str, session: Database) -> int:
    user = User(email=email)
    session.add(user)
    try:
        session.commit()
    except IntegrityError:
        raise HTTPException(409, "This address is registered already.") from None
    return user.id


@app.get("/users")
def list_emails(session: Database) -> list[str]:
    return list(session.scalars(select(User.email).order_by(User.email)))
