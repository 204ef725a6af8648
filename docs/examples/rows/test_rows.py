import pytest
from sqlalchemy import select

from app import Customer

NAMES = select(Customer.name).order_by(Customer.id)


def test_every_test_finds_the_rows_of_the_run(pg_session):
    assert pg_session.scalars(NAMES).all() == ["Ada", "Bob"]


@pytest.mark.berth_pg(seed="abroad/{country}.yaml")
@pytest.mark.parametrize(("country", "name"), [("FR", "Claire"), ("IS", "Dagur")])
def test_a_set_of_rows_for_each_parameter(pg_session, country, name):
    assert pg_session.scalars(NAMES.filter_by(country=country)).all() == [name]


@pytest.mark.berth_pg(seed={"customers": [{"name": "Eve", "country": "NO", "since": "2024-04-01"}]})
def test_rows_in_the_marker(pg_session):
    assert pg_session.scalars(NAMES).all() == ["Ada", "Bob", "Eve"]
