"""What a piece costs: pure arithmetic, no database."""

from decimal import ROUND_HALF_UP, Decimal

WHOLESALE_QUANTITY = 10
WHOLESALE_DISCOUNT = Decimal("0.10")
CENT = Decimal("0.01")


def unit_price(list_price: Decimal, quantity: int) -> Decimal:
    """Return the price of one piece when *quantity* of them are bought together."""
    if quantity < WHOLESALE_QUANTITY:
        return list_price
    return (list_price * (1 - WHOLESALE_DISCOUNT)).quantize(CENT, ROUND_HALF_UP)
