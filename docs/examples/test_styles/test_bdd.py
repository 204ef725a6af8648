from pytest_bdd import parsers, scenarios, then, when

from store import count, register

scenarios("features")


@when(parsers.parse("{email} registers"))
def registers(email):
    register(email)


@then(parsers.parse("there are {number:d} users"))
def there_are(number):
    assert count() == number
