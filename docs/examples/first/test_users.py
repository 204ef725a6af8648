from sqlalchemy import select

from app import User


def test_a_user_is_stored(pg_session):
    pg_session.add(User(email="ada@example.com"))
    pg_session.commit()  # a savepoint: seen here, gone after the test
    assert pg_session.scalars(select(User.email)).all() == ["ada@example.com"]


def test_the_next_test_starts_clean(pg_session):
    assert pg_session.scalars(select(User)).all() == []
