"""Files of rows, and rows of a marker: CSV, JSON, YAML."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_berth.errors import SettingsError
from pytest_berth.services.postgres.schema import parse

if TYPE_CHECKING:
    import sqlalchemy as sa

    from .conftest import Project

SCHEMA = """
CREATE SCHEMA billing;
CREATE TABLE users (
    id serial PRIMARY KEY, email text UNIQUE, active bool DEFAULT true, tags text[], about jsonb,
    price numeric(20, 10), chief int REFERENCES users
);
CREATE TABLE a_orders (
    id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, user_id int NOT NULL REFERENCES users,
    at timestamptz
);
CREATE TABLE billing.invoices (order_id int REFERENCES a_orders, total int DEFAULT 7);
CREATE TABLE "Mixed Case" ("A b" int);
"""
ORDERED = "SELECT id, email, active FROM users ORDER BY id"


@pytest.fixture
def seeded(project: Project) -> Project:
    """A project with tables that refer to each other."""
    project.write("schema.sql", SCHEMA)
    project.run("schema.sql")
    return project


def test_csv_files_come_in_the_order_of_foreign_keys(seeded: Project) -> None:
    seeded.write("seed/a_orders.csv", "id,user_id,at\n5,2,2024-01-01T00:00Z\n")
    seeded.write("seed/billing.invoices.csv", "order_id\n5\n")
    seeded.write("seed/Mixed Case.csv", '"A b"\n1\n')
    seeded.write(
        "seed/users.csv",
        "\ufeffid,email,active,tags,about,price,chief\n"
        '1,"a, ""b""",,{x},"{""k"": 1}",1234567890.0123456789,2\n2,"",false,,,,\n',
    )
    seeded.run("seed/*.csv")
    assert seeded.query(ORDERED) == [(1, 'a, "b"', None), (2, "", False)]
    assert seeded.query("SELECT tags, about, price::text, chief FROM users ORDER BY id") == [
        (["x"], {"k": 1}, "1234567890.0123456789", 2),
        (None, None, None, None),
    ]
    assert seeded.query("SELECT order_id, total FROM billing.invoices") == [(5, 7)]
    assert seeded.query('SELECT "A b" FROM "Mixed Case"') == [(1,)]
    # What comes next does not collide with what the files have brought.
    assert seeded.query("INSERT INTO users DEFAULT VALUES RETURNING id") == [(3,)]
    assert seeded.query("INSERT INTO a_orders (user_id) VALUES (1) RETURNING id") == [(6,)]


def test_many_rows_are_copied(seeded: Project) -> None:
    lines = "".join(f"{number},user{number}@example.com\n" for number in range(1, 20_001))
    seeded.write("users.csv", f"id,email\n{lines}")
    seeded.run("users.csv")
    assert seeded.query("SELECT count(*), max(id) FROM users") == [(20_000, 20_000)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("users.json", '[{"id": 1, "email": "é", "tags": ["x"], "about": {"k": 1}}, {"id": 2}]'),
        ("all.json", '{"a_orders": [], "users": [{"id": 1, "email": "é", "tags": ["x"],'
                     ' "about": {"k": 1}}, {"id": 2, "active": true}]}'),
        ("all.yaml", "users:\n- {id: 1, email: é, tags: [x], about: {k: 1}}\n- {id: 2}\n"),
    ],
)  # fmt: skip
def test_json_and_yaml_rows_have_defaults_for_what_they_leave_out(
    seeded: Project, name: str, text: str
) -> None:
    seeded.write(name, text)
    seeded.run(seeded.root / name)
    assert seeded.query(ORDERED) == [(1, "é", True), (2, None, True)]
    assert seeded.query("SELECT tags, about FROM users WHERE id = 1") == [(["x"], {"k": 1})]


def test_rows_are_written_inside_a_transaction(seeded: Project, connection: sa.Connection) -> None:
    rows = {"a_orders": [{"id": 1, "user_id": 1}], "users": [{"id": 1, "email": "ada"}]}
    seeded.write("billing.invoices.csv", "order_id\n1\n")
    for step in parse([rows, "billing.invoices.csv"], seeded.root):
        step.check()
        step.run_in(connection)
    count = "SELECT count(*) FROM billing.invoices"
    assert connection.exec_driver_sql(count).scalar() == 1
    assert seeded.query(count) == [(0,)]


def test_a_fingerprint_follows_the_files(seeded: Project) -> None:
    (step,) = parse("*.csv", seeded.root)
    found = set()
    for text in ("id\n1\n", "id\n2\n"):
        seeded.write("users.csv", text)
        found.add(step.fingerprint())
    assert len(found) == 2
    (one,), (other,) = (parse({"users": [{"id": n}]}, seeded.root) for n in (1, 2))
    assert one.fingerprint() != other.fingerprint()


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("userz.csv", "id\n1\n", ["userz.csv is for the table 'userz', which", "mean 'users'?"]),
        ("users.csv", "id,emial\n", ["users.csv has the column 'emial', which", "mean 'email'?"]),
        ("users.csv", "id\n1\nx\n", ["users.csv:3 failed: invalid input", "the table is 'users'"]),
        ("a_orders.csv", "user_id\n9\n", ["a_orders.csv failed: insert", "seed the row that"]),
        ("users.json", '[{"id": "x"}]', ["users.json failed: invalid input syntax for type int"]),
    ],
)
def test_what_the_server_does_not_take_is_told_with_its_place(
    seeded: Project, name: str, text: str, told: list[str]
) -> None:
    seeded.write(name, text)
    message = seeded.failure(name)
    assert [part for part in told if part not in message] == []


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("users.csv", "", ["users.csv has no header."]),
        ("users.json", "[1]", ["users.json has no rows.", "what it has for 'users' is int"]),
        ("users.json", "{", ["users.json cannot be read.", "line 1"]),
        ("users.yaml", "a: [", ["users.yaml cannot be read."]),
        ("users.yml", "text", ["users.yml has no rows.", "it is str"]),
    ],
)
def test_files_that_are_no_rows_are_told_before_the_first_test(
    project: Project, name: str, text: str, told: list[str]
) -> None:
    project.write(name, text)
    (step,) = parse(name, project.root)
    with pytest.raises(SettingsError) as caught:
        step.check()
    assert [part for part in told if part not in str(caught.value)] == []


def test_a_file_that_is_not_there_has_the_nearest_name(project: Project) -> None:
    project.write("seed/users.csv", "id\n")
    (step,) = parse("seed/user.csv", project.root)
    with pytest.raises(SettingsError) as caught:
        step.check()
    assert "no file of rows matches 'seed/user.csv'." in str(caught.value)
    assert "did you mean 'users.csv'?" in str(caught.value)


def test_an_extension_that_the_server_has_not_is_told_with_the_remedy(project: Project) -> None:
    project.write("a.sql", "CREATE EXTENSION nowhere;\n")
    message = project.failure("a.sql")
    assert "let berth use a server that has 'nowhere'" in message
