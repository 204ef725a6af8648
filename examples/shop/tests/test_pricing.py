from decimal import Decimal

import pytest

from shop.pricing import unit_price


def test_a_few_pieces_cost_the_list_price():
    assert unit_price(Decimal("19.99"), quantity=9) == Decimal("19.99")


@pytest.mark.parametrize("quantity", [10, 1000])
def test_ten_and_more_cost_a_tenth_less(quantity):
    assert unit_price(Decimal("20.00"), quantity) == Decimal("18.00")


@pytest.mark.parametrize(("list_price", "expected"), [("19.99", "17.99"), ("5.25", "4.73")])
def test_prices_are_rounded_to_cents(list_price, expected):
    assert unit_price(Decimal(list_price), quantity=10) == Decimal(expected)
