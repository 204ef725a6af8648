import pytest

import shop


@pytest.mark.parametrize("item", ["tea", "coffee"])
def test_an_order_is_stored(item):
    assert shop.place_order(item) == 1
    assert shop.ordered_items() == [item]
