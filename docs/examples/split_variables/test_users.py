import pytest
from sqlalchemy import create_engine, text

import settings

engine = create_engine(settings.DATABASE_URL)


@pytest.mark.parametrize("run", ["first", "second"])
def test_a_user_is_stored_under_the_first_number(run):
    with engine.begin() as connection:
        insert = text("INSERT INTO users (name) VALUES ('Ada') RETURNING id")
        assert connection.scalar(insert) == 1
