"""The fingerprint of schema and seeds: the same for the same result, else another one or none."""

from __future__ import annotations

import enum
import sys
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import DDL, Boolean, Column, Enum, Integer, MetaData, Table, event

from pytest_berth.schema import fingerprint as template_fingerprint
from pytest_berth.services.postgres.schema import parse

if TYPE_CHECKING:
    from pathlib import Path


class Color(enum.Enum):
    """A type that creates itself."""

    RED = 1


def tables(*columns: Column[object]) -> MetaData:
    made = MetaData()
    own = (Column("id", Integer, primary_key=True), Column("color", Enum(Color)))
    Table("things", made, *own, *columns)
    return made


def of(root: Path, *items: object, globs: tuple[str, ...] = ()) -> str | None:
    return template_fingerprint.of(parse(items, root), globs, root)


def test_tables_that_are_created_by_the_same_statements_have_the_same(tmp_path: Path) -> None:
    assert of(tmp_path, tables()) == of(tmp_path, tables())
    other = tables(Column("active", Boolean, server_default="true"))
    assert of(tmp_path, other) not in {None, of(tmp_path, tables())}


def test_a_statement_that_is_bound_to_an_event_counts(tmp_path: Path) -> None:
    with_extension = tables()
    event.listen(with_extension, "before_create", DDL("CREATE EXTENSION citext"))
    assert of(tmp_path, with_extension) not in {None, of(tmp_path, tables())}


@pytest.mark.parametrize("once", [False, True])
def test_there_is_none_where_a_listener_calls_the_suite(tmp_path: Path, once: bool) -> None:
    listening = tables()
    event.listen(listening, "after_create", lambda *args, **kwargs: None, once=once)
    assert of(tmp_path, listening) is None


def test_a_file_counts_by_its_name_and_content(tmp_path: Path) -> None:
    (tmp_path / "a.sql").write_text("CREATE TABLE a ()")
    before = of(tmp_path, "*.sql")
    assert before == of(tmp_path, "*.sql")
    (tmp_path / "a.sql").write_text("CREATE TABLE b ()")
    changed = of(tmp_path, "*.sql")
    (tmp_path / "b.sql").write_text("")
    assert len({before, changed, of(tmp_path, "*.sql"), None}) == 4


def test_the_order_counts(tmp_path: Path) -> None:
    for name in ("a.sql", "b.sql"):
        (tmp_path / name).write_text("SELECT 1")
    assert of(tmp_path, "a.sql", "b.sql") != of(tmp_path, "b.sql", "a.sql")


@pytest.mark.parametrize("line", [r"\i other.sql", r"\copy a from 'rows.csv'", r"\set a `date`"])
def test_there_is_none_where_psql_may_read_more(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.sql").write_text(f"SELECT 1;\n{line}\n")
    assert of(tmp_path, "a.sql") is None


def seed(connection: object) -> None:
    """Do anything."""


@pytest.mark.parametrize("item", [seed, "command: make schema"])
def test_there_is_none_for_what_may_depend_on_anything_unless_globs_say(
    tmp_path: Path, item: object
) -> None:
    (tmp_path / "seeds").mkdir()
    (tmp_path / "seeds" / "countries.csv").write_text("CH")
    assert of(tmp_path, item) is None
    before = of(tmp_path, item, globs=("seeds/*",))
    (tmp_path / "seeds" / "countries.csv").write_text("AT")
    assert before is not None
    assert of(tmp_path, item, globs=("seeds/*",)) not in {None, before}


def test_migrations_count_by_their_directory(tmp_path: Path) -> None:
    (tmp_path / "alembic.ini").write_text(
        "[alembic]\nscript_location = %(here)s/migrations\nprepend_sys_path = /nowhere\n"
    )
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (tmp_path / "migrations" / "env.py").write_text("raise SystemError('not to be run')")
    before, path = of(tmp_path, "alembic: alembic.ini"), sys.path[:]
    assert before is not None
    (versions / "__pycache__").mkdir()
    (versions / "__pycache__" / "1.pyc").write_text("")
    assert of(tmp_path, "alembic: alembic.ini") == before
    (versions / "1_first.py").write_text("revision = '1'")
    assert of(tmp_path, "alembic: alembic.ini") not in {None, before}
    assert sys.path == path
    drift = parse("alembic: alembic.ini", tmp_path, check_drift=True)
    assert template_fingerprint.of(drift, (), tmp_path) is None
