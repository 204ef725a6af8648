import pytest
import registry

ORDER = {
    "type": "record",
    "name": "OrderPlaced",
    "fields": [{"name": "user", "type": "long"}, {"name": "total", "type": "int"}],
}


def with_note(**given):
    """Return a schema that has one field more."""
    return {**ORDER, "fields": [*ORDER["fields"], {"name": "note", "type": "string", **given}]}


@pytest.fixture
def orders(registry_url):
    """Register the schema of the messages that tell of orders."""
    registry.ask(registry_url, "/config/orders-value", {"compatibility": "BACKWARD"}, method="PUT")
    return registry.register(registry_url, "orders-value", ORDER)


def test_a_message_is_read_by_the_schema_that_it_names(registry_url, orders):
    sent = registry.encode(orders, ORDER, {"user": 123, "total": 25})
    expected = {**ORDER, "fields": [{"name": "total", "type": "long"}]}
    assert registry.decode(registry_url, sent, expected) == {"total": 25}


def test_a_field_that_old_messages_lack_needs_a_default(registry_url, orders):
    assert registry.breaks(registry_url, "orders-value", with_note())
    assert not registry.breaks(registry_url, "orders-value", with_note(default=""))


def test_no_schema_of_another_test_is_there(registry_url):
    assert registry.ask(registry_url, "/subjects") == []
