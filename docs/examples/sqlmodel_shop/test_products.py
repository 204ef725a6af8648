from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, select

from app import Product, add, sell


@pytest.mark.parametrize("run", ["first", "second"])
def test_a_product_is_added_under_the_first_number(session, run):
    assert add(session, "teapot", 10).id == 1


def test_a_name_is_taken_once(session):
    add(session, "teapot", 10)
    with pytest.raises(IntegrityError):
        add(session, "teapot", 20)
    session.rollback()

    assert session.exec(select(Product.stock)).all() == [10]


def test_each_piece_is_sold_once(pg_engine):
    def sell_one(name: str) -> int:
        with Session(pg_engine) as session:
            return sell(session, name)

    with Session(pg_engine) as session:
        add(session, "teapot", 10)
    with ThreadPoolExecutor() as threads:
        left = list(threads.map(sell_one, ["teapot"] * 10))

    assert sorted(left) == list(range(10))
