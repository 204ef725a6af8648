"""Factories get the session of the test: ``berth_mysql_factories``."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conftest import Project


def test_factories_work_in_the_session_of_the_test(project: Project) -> None:
    project.ini("berth_mysql_schema = models:Base.metadata", "berth_mysql_factories = factories")
    project.write(
        models="""
            from sqlalchemy import String
            from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

            class Base(DeclarativeBase):
                pass

            class User(Base):
                __tablename__ = "users"
                id: Mapped[int] = mapped_column(primary_key=True)
                email: Mapped[str] = mapped_column(String(50), unique=True)
        """,
        factories="""
            import factory
            from factory.alchemy import SQLAlchemyModelFactory
            from models import User

            class UserFactory(SQLAlchemyModelFactory):
                class Meta:
                    model = User
                email = factory.Sequence("user{}".format)
        """,
        test_it="""
            import pytest
            from sqlalchemy import inspect, text
            from factories import UserFactory

            ALL = text("SELECT email FROM users ORDER BY id")

            @pytest.mark.parametrize("n", [1, 2])
            def test_rolled_back(mysql_session, n):
                assert inspect(UserFactory()).session is mysql_session
                assert mysql_session.scalars(ALL).all() == ["user0"]

            @pytest.fixture(scope="module")
            def wide(mysql_engine):
                UserFactory()

            @pytest.mark.parametrize("n", [1, 2])
            def test_committed(wide, mysql_engine, n):
                UserFactory()
                with mysql_engine.connect() as connection:
                    assert connection.scalars(ALL).all() == ["user0", "user1"]
        """,
    )
    project.run("-v").assert_outcomes(passed=4)
