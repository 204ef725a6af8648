import pytest
from factories import OrderFactory, UserFactory
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app import Order, User


@pytest.fixture(scope="module")
def regular(pg_engine):
    return UserFactory(name="a regular").email


def test_what_a_fixture_of_a_wider_scope_makes_is_there_for_all_its_tests(regular, pg_engine):
    OrderFactory()

    with Session(pg_engine) as session:
        assert session.scalar(select(func.count()).select_from(User)) == 2
        assert session.scalar(select(func.count()).select_from(Order)) == 1
