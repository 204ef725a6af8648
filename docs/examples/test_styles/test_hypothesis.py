from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from store import User, count, register

FEW = settings(max_examples=5, deadline=None)


@FEW
@given(st.emails())
def test_each_registration_is_one_more(email):
    assert register(email) == count()  # examples share the test's slate


@settings(FEW, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.emails(), max_size=3))
def test_each_example_begins_anew(pg_session, emails):
    with pg_session.begin_nested() as example:
        pg_session.add_all(User(email=email) for email in emails)
        found = pg_session.scalar(select(func.count()).select_from(User))
        example.rollback()
    assert found == len(emails)
