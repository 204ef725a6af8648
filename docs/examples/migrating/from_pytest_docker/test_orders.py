import shop


def test_orders_are_numbered():
    assert [shop.place_order("tea"), shop.place_order("coffee")] == [1, 2]


def test_each_test_begins_without_orders():
    assert shop.ordered_items() == []
    assert shop.place_order("tea") == 1
