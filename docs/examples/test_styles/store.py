import os
from functools import cache

from sqlalchemy import Engine, create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column


class Base(DeclarativeBase):
    pass


class User(Base):
    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]


@cache
def engine() -> Engine:
    return create_engine(os.environ["DATABASE_URL"])


def register(email: str) -> int:
    """Register a user, and return how many there are.

    >>> register("ada@example.com")
    1
    >>> register("bob@example.com")
    2
    """
    with Session(engine()) as session, session.begin():
        session.add(User(email=email))
    return count()


def count() -> int:
    """Return how many users there are.

    >>> count()
    0
    """
    with Session(engine()) as session:
        return session.scalar(select(func.count()).select_from(User))
