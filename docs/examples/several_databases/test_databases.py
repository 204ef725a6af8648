import psycopg
import pytest
from sqlalchemy import text


@pytest.mark.parametrize("run", ["first", "second"])
def test_an_order_has_an_invoice_in_the_other_database(pg_session, pg_databases, run):
    pg_session.execute(text("INSERT INTO orders (item) VALUES ('tea')"))
    billing = pg_databases["billing"].session
    billing.execute(text("INSERT INTO invoices (total) VALUES (4.50)"))
    billing.commit()

    assert billing.scalar(text("SELECT id FROM invoices")) == 1


def test_a_copy_of_the_shop(pg_database):
    target = pg_database()  # a second private database, with the schema of the shop
    with psycopg.connect(target.dsn) as connection:
        connection.execute("INSERT INTO orders (item) VALUES ('coffee')")

    assert pg_database.session.scalar(text("SELECT count(*) FROM orders")) == 0


def test_what_needs_an_empty_database(pg_database):
    blank = pg_database(empty=True)

    assert blank.session.scalar(text("SELECT to_regclass('orders')")) is None
