"""A MetaData, a declarative base and functions, by name and by object."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from pytest_berth.errors import SchemaError
from pytest_berth.services.postgres.schema import parse

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Project


def models() -> sa.MetaData:
    """Return a schema of two tables."""
    metadata = sa.MetaData()
    sa.Table("users", metadata, sa.Column("id", sa.Integer, primary_key=True))
    sa.Table("orders", metadata, sa.Column("user_id", sa.ForeignKey("users.id")))
    return metadata


def test_a_metadata_creates_its_tables(project: Project) -> None:
    project.run(models())
    assert project.tables() == ["orders", "users"]


def test_a_named_base_and_a_named_seed_run_in_order(
    project: Project, module: Callable[[str], None]
) -> None:
    module("""
        import sqlalchemy as sa
        from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column
        class Base(DeclarativeBase): ...
        class User(Base):
            __tablename__ = "users"
            id: Mapped[int] = mapped_column(primary_key=True)
        def seed(connection):
            with Session(connection) as session:
                session.add(User(id=7))
                session.commit()
            connection.execute(sa.insert(User).values(id=8))
    """)
    project.run(["seeds_here:Base.metadata", "seeds_here:seed"])
    assert project.query("SELECT id FROM users ORDER BY id") == [(7,), (8,)]


def test_a_function_may_commit_in_between(project: Project) -> None:
    def seed(connection: sa.Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE a ()")
        connection.commit()
        connection.exec_driver_sql("CREATE TABLE b ()")

    project.run(seed)
    assert project.tables() == ["a", "b"]


def test_a_failing_function_leaves_nothing_and_names_its_line(
    project: Project, module: Callable[[str], None]
) -> None:
    module("""
        def seed(connection):
            connection.exec_driver_sql("CREATE TABLE a ()")
            connection.exec_driver_sql("SELECT 1 FROM missing")
    """)
    with pytest.raises(SchemaError) as caught:
        project.run("seeds_here:seed")
    assert str(caught.value).startswith("'seeds_here:seed' failed.")
    assert 'relation "missing" does not exist' in str(caught.value)
    assert "seeds_here.py:4, in seed" in str(caught.value)
    assert isinstance(caught.value.__cause__, sa.exc.ProgrammingError)
    assert project.tables() == []


def test_a_missing_schema_names_the_remedy(project: Project) -> None:
    metadata = sa.MetaData(schema="shop")
    sa.Table("users", metadata, sa.Column("id", sa.Integer))
    assert "CREATE SCHEMA IF NOT EXISTS" in project.failure(metadata)


def test_a_function_inside_a_transaction_is_rolled_back_with_it(
    project: Project, connection: sa.Connection
) -> None:
    def seed(given: sa.Connection) -> None:
        given.exec_driver_sql("CREATE TABLE a ()")

    for step in parse([models(), seed], project.root):
        step.run_in(connection)
    connection.rollback()
    assert project.tables() == []


def test_a_function_that_ends_the_transaction_is_found_out(
    project: Project, connection: sa.Connection
) -> None:
    (step,) = parse(lambda given: given.rollback(), project.root)
    with pytest.raises(SchemaError, match=r"ended the transaction(.|\n)*truncation"):
        step.run_in(connection)
