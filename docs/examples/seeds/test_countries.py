from sqlalchemy import select

from app import Country


def test_countries_are_listed_by_name(pg_session):
    names = pg_session.scalars(select(Country.name).order_by(Country.name))

    assert list(names) == ["Norway", "Switzerland"]
