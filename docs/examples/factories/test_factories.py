from factories import NoteFactory, OrderFactory, UserFactory
from sqlalchemy import select
from sqlalchemy.orm import Session

from app import Note, User, spent


def test_a_customer_has_spent_the_total_of_all_orders(pg_session):
    ada = UserFactory(email="ada@example.com")
    OrderFactory.create_batch(3, user=ada)
    OrderFactory()  # another customer's

    assert spent(pg_session, "ada@example.com") == 30


def test_other_connections_see_it_where_commits_are_real(pg_engine):
    order = OrderFactory()

    with Session(pg_engine) as another:
        assert spent(another, order.user.email) == 10


async def test_an_async_session_sees_what_factories_make(pg_async_session):
    user = UserFactory()
    note = await NoteFactory.create_async(text="called")

    found = await pg_async_session.scalars(select(User.email))
    assert found.all() == [user.email]
    assert (await pg_async_session.get(Note, note.id)).text == "called"
