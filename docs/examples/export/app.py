import os

from sqlalchemy import create_engine, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

engine = create_engine(os.environ["DATABASE_URL"])


class Base(DeclarativeBase):
    pass


class Visit(Base):
    __tablename__ = "visits"

    id: Mapped[int] = mapped_column(primary_key=True)


def visit():
    with Session(engine) as session, session.begin():
        session.add(Visit())
        session.flush()
        return session.scalar(select(func.count()).select_from(Visit))
