import pytest
from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app import Country


@pytest.fixture(scope="module")
def iceland(pg_engine):
    with Session(pg_engine) as session, session.begin():
        session.add(Country(code="IS", name="Iceland"))
    yield
    with Session(pg_engine) as session, session.begin():
        session.execute(delete(Country).filter_by(code="IS"))


@pytest.mark.parametrize("run", ["first", "second"])
def test_each_test_finds_what_the_module_has_written(iceland, pg_engine, run):
    with Session(pg_engine) as session, session.begin():
        assert session.scalar(select(func.count()).select_from(Country)) == 3
        session.execute(delete(Country))
