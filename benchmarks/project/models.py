"""The application of every measured project: some users, in a schema of so many tables."""

from __future__ import annotations

import os

from sqlalchemy import Column, ForeignKey, Integer, String, Table
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


class Base(DeclarativeBase):
    """The schema."""


class User(Base):
    """What the tests write."""

    __tablename__ = "users"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str] = mapped_column(String(100), unique=True)


for _number in range(int(os.environ["BENCHMARK_TABLES"]) - 1):
    Table(
        f"orders_{_number}",
        Base.metadata,
        Column("id", Integer, primary_key=True),
        Column("user_id", ForeignKey("users.id"), nullable=False, index=True),
        Column("note", String(100), nullable=False),
    )
