"""Factories of factory_boy and polyfactory get the session of the test: ``berth_pg_factories``."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

FACTORIES = """
    import factory
    from factory.alchemy import SQLAlchemyModelFactory
    from polyfactory.factories.sqlalchemy_factory import SQLAlchemyFactory
    from models import User

    class UserFactory(SQLAlchemyModelFactory):
        class Meta:
            model = User
        email = factory.Sequence(lambda n: f"user{n}@example.com")

    class NamedFactory(UserFactory):
        class Meta:
            sqlalchemy_session_persistence = "flush"
        email = factory.Faker("name")

    class PolyFactory(SQLAlchemyFactory[User]):
        __set_primary_key__ = False
"""


@pytest.fixture
def shop(served: Project) -> Project:
    """A project with factories of both libraries for one table."""
    served.models("berth_pg_factories = factories")
    served.write(factories=FACTORIES)
    return served


def test_factories_of_both_libraries_work_in_the_session_of_a_rolled_back_test(
    shop: Project,
) -> None:
    shop.write(
        test_it="""
            import pytest
            from sqlalchemy import inspect, select
            from sqlalchemy.exc import IntegrityError
            from factories import NamedFactory, PolyFactory, UserFactory
            from models import User

            @pytest.mark.parametrize("n", [1, 2])
            def test_sequences_start_anew_and_the_session_is_shared(pg_session, n):
                users = UserFactory.create_batch(2)
                assert [user.email for user in users] == ["user0@example.com", "user1@example.com"]
                assert PolyFactory.create_sync(email="poly").id
                assert {inspect(user).session for user in users} == {pg_session}
                assert len(pg_session.scalars(select(User)).all()) == 3

            @pytest.fixture
            def early():
                return UserFactory()

            def test_before_the_session_is_asked_for(early, pg_session):
                assert inspect(early).session is pg_session

            def test_a_rollback_leaves_what_factories_made(pg_session):
                user = UserFactory()
                with pytest.raises(IntegrityError):
                    UserFactory(email=user.email)
                pg_session.rollback()
                assert pg_session.scalars(select(User.email)).all() == ["user0@example.com"]

            def test_a_factory_may_declare_that_it_only_flushes(pg_session):
                NamedFactory()
                pg_session.rollback()
                assert pg_session.scalars(select(User)).all() == []

            class Late(UserFactory):
                email = "late"

            def test_what_derives_from_a_factory_is_one(pg_connection):
                assert inspect(Late()).session.connection() is pg_connection
        """
    )
    shop.run("-vv").assert_outcomes(passed=6)


def test_where_commits_are_real_factories_commit(shop: Project) -> None:
    shop.write(
        test_it="""
            import pytest
            from sqlalchemy import text
            from factories import NamedFactory, PolyFactory, UserFactory

            COUNT = text("SELECT count(*) FROM users")

            @pytest.mark.parametrize("n", [1, 2])
            def test_others_see_it(pg_engine, n):
                assert UserFactory().email == "user0@example.com"
                NamedFactory(email="flushes")
                PolyFactory.create_sync(email="poly")
                with pg_engine.connect() as connection:
                    assert connection.scalar(COUNT) == 3

            @pytest.fixture(scope="module")
            def wide(pg_engine):
                return UserFactory().email

            class TestWithFixture:
                @pytest.mark.parametrize("n", [1, 2])
                def test_a_fixture_of_a_wider_scope(self, wide, n, pg_engine):
                    assert (wide, UserFactory().email) == ("user0@example.com", "user1@example.com")
                    with pg_engine.connect() as connection:
                        assert connection.scalar(COUNT) == 2

            @pytest.mark.berth_pg(isolation="database")
            def test_in_a_private_database(pg_database):
                UserFactory()
                with pg_database.engine.connect() as connection:
                    assert connection.scalar(COUNT) == 2 - 1
        """,
        test_later="""
            from factories import UserFactory

            def test_sequences_are_back_when_the_fixture_has_ended(pg_session):
                assert UserFactory().email == "user0@example.com"
        """,
    )
    shop.run("-vv").assert_outcomes(passed=6)


def test_async_factories_and_sync_ones_share_what_an_async_test_sees(shop: Project) -> None:
    shop.plugins = ("asyncio",)
    shop.ini(
        "berth_pg_schema = models:Base.metadata",
        "berth_pg_factories = factories",
        "asyncio_mode = auto",
        "asyncio_default_fixture_loop_scope = function",
    )
    shop.write(
        test_it="""
            from sqlalchemy import inspect, select, text
            from factories import PolyFactory, UserFactory
            from models import User

            async def test_rolled_back(pg_async_session):
                user = await PolyFactory.create_async(email="poly")
                assert user in pg_async_session
                UserFactory()
                found = await pg_async_session.scalars(select(User.email).order_by(User.id))
                assert found.all() == ["poly", "user0@example.com"]

            async def test_committed(pg_async_session, pg_async_engine):
                await PolyFactory.create_async(email="poly")
                UserFactory()
                async with pg_async_engine.connect() as connection:
                    count = text("SELECT count(*) FROM users")
                    assert (await connection.execute(count)).scalar_one() == 2

            async def test_without_a_session_of_its_own(pg_async_engine):
                await PolyFactory.create_async(email="poly")
                async with pg_async_engine.connect() as connection:
                    found = await connection.execute(text("SELECT email FROM users"))
                    assert found.scalars().all() == ["poly"]
        """
    )
    shop.run("-vv").assert_outcomes(passed=3)


def test_what_is_drawn_at_random_is_the_same_for_the_same_test(shop: Project) -> None:
    shop.write(
        test_it="""
            import pytest
            from pathlib import Path
            from factories import NamedFactory, PolyFactory

            @pytest.mark.parametrize("n", [1, 2])
            def test_names(pg_session, n):
                drawn = f"{n} {NamedFactory().email} {PolyFactory.create_sync().email}\\n"
                with Path("drawn.txt").open("a") as file:
                    file.write(drawn)
        """
    )
    shop.run().assert_outcomes(passed=2)
    shop.run("test_it.py::test_names[2]").assert_outcomes(passed=1)
    first, second, again = (shop.root / "drawn.txt").read_text().splitlines()
    assert again == second
    assert first[2:] != second[2:]


def test_a_factory_that_no_session_can_be_had_for_says_so(shop: Project) -> None:
    shop.write(
        test_it="""
            import pytest
            from factories import PolyFactory, UserFactory

            def test_first(pg_session):
                UserFactory()

            @pytest.mark.parametrize("make", [UserFactory, PolyFactory.create_sync])
            def test_unit(make):
                make()

            def test_built():
                assert UserFactory.build().email.endswith("@example.com")

            @pytest.fixture(scope="module")
            def wide():
                UserFactory()

            def test_wide(wide, pg_session):
                pass
        """
    )
    result = shop.run()
    result.assert_outcomes(passed=2, failed=2, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*a factory of berth_pg_factories was used where no test has PostgreSQL.",
            "*why: test_it.py::test_unit[[]UserFactory[]] (call): neither*",
            "*do:  let the test ask for pg_session*",
        ]
    )


def test_modules_that_are_of_no_use_end_the_run(shop: Project) -> None:
    shop.models("berth_pg_factories = factorys broken models plain")
    shop.write(
        broken="1 / 0",
        plain="""
            import factory
            class Plain(factory.Factory):
                class Meta:
                    model = dict
        """,
        test_it="def test_it(pg_session): pass",
    )
    result = shop.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    told = [
        ["*'factorys' with factories was not found.", "*set by pytest.ini", "*mean 'factories'?"],
        ["*'broken' with factories could not be imported.", "*ZeroDivisionError*"],
        ["*'models' has no factories of SQLAlchemy models.", "*berth_pg_factories, set by*"],
        ["*'plain' has no factories*", "*why: Plain is a factory.base.Factory"],
    ]
    result.stderr.fnmatch_lines([line for lines in told for line in lines])


def test_factories_of_a_package_have_what_they_declare_when_the_run_ends(shop: Project) -> None:
    package = shop.pytester.mkpydir("data")
    (shop.root / "factories.py").rename(package / "users.py")
    shop.models("berth_pg_factories = data")
    shop.conftest(
        """
        def pytest_unconfigure(config):
            from data.users import PolyFactory, UserFactory
            config.get_terminal_writer().line(
                f"{UserFactory._meta.sqlalchemy_session_factory} {PolyFactory.__session__}"
            )
        """
    )
    shop.write(
        test_it="""
            from data.users import PolyFactory, UserFactory

            def test_it(pg_session):
                assert UserFactory().id
                assert PolyFactory.__session__
        """
    )
    result = shop.run()
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["None None"])


def test_the_example_of_the_documentation_passes(served: Project) -> None:
    example = Path(__file__).parents[2] / "docs/examples/factories"
    shutil.copytree(example, served.root, dirs_exist_ok=True)
    served.plugins = ("asyncio", "randomly")
    served.run("-v").assert_outcomes(passed=4)
