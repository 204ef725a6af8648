"""Books in MySQL: created, read, changed, deleted; and no ISBN twice."""

from __future__ import annotations

from threading import Thread
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import MetaData, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
from sqlalchemy.types import String

if TYPE_CHECKING:
    from sqlalchemy import Engine


class Base(DeclarativeBase):
    """The tables."""


class Book(Base):
    """A book."""

    __tablename__ = "books"
    id: Mapped[int] = mapped_column(primary_key=True)
    isbn: Mapped[str] = mapped_column(String(13), unique=True)
    title: Mapped[str] = mapped_column(String(100))


@pytest.fixture(scope="session")
def mysql_schema() -> MetaData:
    """What every test finds: the tables; in an application, ``berth_mysql_schema`` names them."""
    return Base.metadata


def test_a_book_is_created_read_changed_and_deleted(mysql_session: Session) -> None:
    """Each commit is a savepoint: afterwards the table is empty, and numbers begin at 1."""
    mysql_session.add(Book(isbn="9780131103627", title="C"))
    mysql_session.commit()
    book = mysql_session.scalars(select(Book)).one()
    assert book.id == 1

    book.title = "The C Programming Language"
    mysql_session.commit()
    assert mysql_session.scalar(select(Book.title)) == "The C Programming Language"

    mysql_session.delete(book)
    mysql_session.commit()
    assert mysql_session.scalars(select(Book)).all() == []


def test_an_isbn_is_there_once(mysql_session: Session) -> None:
    """A violated constraint leaves the session usable, with what was committed before."""
    mysql_session.add(Book(isbn="9780131103627", title="The C Programming Language"))
    mysql_session.commit()
    mysql_session.add(Book(isbn="9780131103627", title="A copy"))
    with pytest.raises(IntegrityError):
        mysql_session.commit()
    mysql_session.rollback()
    assert mysql_session.scalars(select(Book.title)).all() == ["The C Programming Language"]


def test_another_thread_sees_what_was_committed(mysql_engine: Engine) -> None:
    """With the engine commits are real; the table is emptied afterwards."""
    with Session(mysql_engine) as session:
        session.add(Book(isbn="9780131103627", title="The C Programming Language"))
        session.commit()
    seen: list[str] = []

    def look() -> None:
        with Session(mysql_engine) as session:
            seen.extend(session.scalars(select(Book.title)))

    thread = Thread(target=look)
    thread.start()
    thread.join()
    assert seen == ["The C Programming Language"]


def test_nothing_is_left_of_the_other_tests(mysql_session: Session) -> None:
    """Whichever order they run in."""
    assert mysql_session.scalars(select(Book)).all() == []
