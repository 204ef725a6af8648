"""Rows of the provider."""

import factory
from factory.alchemy import SQLAlchemyModelFactory
from orders.models import Order, User


class UserFactory(SQLAlchemyModelFactory):
    """Makes users."""

    class Meta:
        model = User

    name = factory.Faker("name")


class OrderFactory(SQLAlchemyModelFactory):
    """Makes orders, each of a user of its own where none is given."""

    class Meta:
        model = Order

    user = factory.SubFactory(UserFactory)
    total = 10
