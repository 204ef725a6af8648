import factory
from factory.alchemy import SQLAlchemyModelFactory
from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory

from app import Note, Order, User


class UserFactory(SQLAlchemyModelFactory):
    class Meta:
        model = User

    email = factory.Sequence("user{}@example.com".format)
    name = factory.Faker("name")


class OrderFactory(SQLAlchemyModelFactory):
    class Meta:
        model = Order

    user = factory.SubFactory(UserFactory)
    total = 10


class NoteFactory(SQLAlchemyFactory[Note]):
    __set_primary_key__ = False
