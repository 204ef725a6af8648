import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import ProgrammingError


@pytest.mark.parametrize("run", ["first", "second"])
def test_the_application_may_add_and_not_delete(pg_url, run):
    engine = create_engine(pg_url)
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO countries VALUES ('NO', 'Norway')"))
        assert connection.scalar(text("SELECT count(*) FROM countries")) == 2
    with pytest.raises(ProgrammingError, match="permission denied"), engine.begin() as connection:
        connection.execute(text("DELETE FROM countries"))
    engine.dispose()
