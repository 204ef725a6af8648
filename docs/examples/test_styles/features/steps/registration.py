from behave import then, when

from store import count, register


@when("{email} registers")
def registers(context, email):
    register(email)


@then("there are {number:d} users")
def there_are(context, number):
    assert count() == number
