"""Valid rows, in which a test states only what matters to it."""

from decimal import Decimal

import factory

from shop.models import Customer, Product


class CustomerFactory(factory.Factory):
    class Meta:
        model = Customer

    name = factory.Faker("name")
    email = factory.Sequence("customer{}@example.com".format)


class ProductFactory(factory.Factory):
    class Meta:
        model = Product

    name = factory.Sequence("Product {}".format)
    price = Decimal("10.00")
    stock = 5
