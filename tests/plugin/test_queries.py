"""How many statements a test sends can be part of its contract; too many are hinted at."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

MODELS = """
    from sqlalchemy import ForeignKey
    from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship

    class Base(DeclarativeBase): pass

    class Order(Base):
        __tablename__ = "orders"
        id: Mapped[int] = mapped_column(primary_key=True)
        items: Mapped[list["Item"]] = relationship()

    class Item(Base):
        __tablename__ = "items"
        id: Mapped[int] = mapped_column(primary_key=True)
        order_id: Mapped[int] = mapped_column(ForeignKey(Order.id))
"""
APPLICATION = """
    from sqlalchemy import create_engine, select, text
    from sqlalchemy.orm import Session, selectinload
    from models import Item, Order

    def fill(session, orders):
        session.add_all([Order(items=[Item(), Item()]) for _ in range(orders)])
        session.commit()

    def total(session, *options):
        return sum(len(order.items) for order in session.scalars(select(Order).options(*options)))

    def of_own_engine(url):
        engine = create_engine(url)
        with Session(engine) as session:
            total(session)
        engine.dispose()

    async def of_async(session):
        for number in range(3):
            await session.execute(text(f"SELECT {number}"))

    def poll(session):
        for _ in range(20):
            session.execute(text("SELECT count(*) FROM orders WHERE id = :id"), {"id": 1})
"""
TESTS = """
    import asyncio, unittest
    import pytest
    from sqlalchemy import text
    from sqlalchemy.orm import selectinload
    from application import fill, of_async, of_own_engine, poll, total
    from models import Order

    @pytest.fixture
    def filled(pg_session):
        fill(pg_session, 12)

    def test_counted(filled, pg_session, pg_queries):
        assert pg_queries.count == 0
        with pg_queries(at_most=2) as queries:
            assert total(pg_session, selectinload(Order.items)) == 24
        assert queries.count == 2 == len(queries.statements)
        with pg_queries(exactly=2):
            with pg_session.begin_nested():
                pg_session.execute(text("SELECT 1"))
            pg_session.execute(text("SELECT 2"))
            pg_session.commit()
        assert pg_queries.count == 4
        one, two = pg_queries.statements[2:]
        assert (one.line, two.line) == ("test_it.py:19", "test_it.py:20")
        assert queries.count == 2
        assert not pg_queries.repeated()

    def test_too_many(filled, pg_session, pg_queries):
        with pg_queries(at_most=3):
            total(pg_session)

    def test_too_few(pg_session, pg_queries):
        with pg_queries(exactly=1):
            pass

    @pytest.mark.berth_pg(max_queries=5)
    def test_marked(filled, pg_session):
        total(pg_session)

    @pytest.mark.berth_pg(max_queries=0)
    def test_its_own_failure_is_told(pg_session):
        pg_session.execute(text("SELECT 1"))
        raise ValueError

    @pytest.mark.berth_pg(max_queries=1)
    def test_asked_for_while_it_runs(request):
        session = request.getfixturevalue("pg_session")
        session.execute(text("SELECT 1"))
        session.execute(text("SELECT 2"))

    @pytest.mark.berth_pg(max_queries=1)
    def test_asked_for_while_it_runs_and_few(request):
        request.getfixturevalue("pg_session").execute(text("SELECT 1"))

    @pytest.mark.berth_pg(max_queries=1)
    def test_marked_and_few(filled, pg_session):
        pg_session.execute(text("SELECT 1"))

    def test_own_engine(pg_url, pg_queries):
        of_own_engine(pg_url)
        assert pg_queries.count == 1

    def test_async(pg_async_session, pg_queries):
        with pg_queries(at_most=3) as queries:
            asyncio.run(of_async(pg_async_session))
        (repeated,) = queries.repeated(2)
        assert (repeated.line, repeated.times) == ("application.py:20", 3)

    def test_polling(pg_session):
        poll(pg_session)
        raise ValueError

    class TestOfUnittest(unittest.TestCase):
        @pytest.fixture(autouse=True)
        def given(self, pg_session, pg_queries):
            self.session, self.queries = pg_session, pg_queries

        @pytest.mark.berth_pg(max_queries=0)
        def test_it(self):
            self.session.execute(text("SELECT 1"))
            assert self.queries.count == 1
"""


def test_they_are_counted_listed_and_limited_and_many_of_a_kind_are_hinted_at(
    project: Project,
) -> None:
    project.plugins = ("xdist",)
    project.ini("berth_pg_schema = models:Base.metadata", "addopts = -p no:cacheprovider")
    project.write(models=MODELS, application=APPLICATION, test_it=TESTS)
    result = project.run("-vv", "-n2", "--tb=short", "-rf")
    result.assert_outcomes(failed=7, passed=5)
    result.stdout.fnmatch_lines_random(
        [
            "*PASSED (postgres rollback: *) test_it.py::test_counted*",
            "*PASSED (postgres truncation: *) test_it.py::test_own_engine*",
            "FAILED*test_it.py::test_too_few - *0 statements sent, exactly 1 expected.",
            "FAILED*::test_asked_for_while_it_runs - *2 statements sent, at most 1 allowed.",
            "FAILED*test_it.py::test_its_own_failure_is_told - ValueError",
            "FAILED*test_it.py::TestOfUnittest::test_it - *1 statement sent, at most 0 allowed.",
        ]
    )
    listed = [
        "* 12 rows  application.py:10  SELECT orders.id FROM orders",
        "* 24 rows  application.py:10  SELECT items.id, * WHERE * = items.order_id "
        " [[]param_1=1]  (12 times in a row)",
        "*repeated 12 times from application.py:10, loading Order.items: SELECT items.id, *",
    ]
    result.stdout.fnmatch_lines(
        ["13 statements sent, at most 5 allowed.", "  why: *(max_queries=5)", *listed],
        consecutive=True,
    )
    # Between the two, Python 3.13 points at the call.
    result.stdout.fnmatch_lines(
        ["*in test_too_many", "    with pg_queries(at_most=3):"], consecutive=True
    )
    result.stdout.fnmatch_lines(
        [
            "E   AssertionError: 13 statements sent, at most 3 allowed.",
            *listed,
            "*- postgres: one query for each object -*",
            "12 times from application.py:10: SELECT items.id, items.order_id FROM items WHERE *",
            "  why: Order.items is loaded as it is read, for one object at a time (N+1)",
            "  do:  load it with its parents, by .options(selectinload(Order.items))",
        ],
        consecutive=True,
    )
    assert result.stdout.str().count("one query for each object -") == 2
    hint = "hint: application.py:10 loads Order.items by one query for each object (N+1): load it *"
    told = [line for line in result.outlines if "(N+1): load" in line]
    assert len(told) == 1
    result.stdout.fnmatch_lines(["*= berth =*", "postgres 17*", hint])


def test_nothing_is_recorded_without_lines_but_queries_are_counted(served: Project) -> None:
    served.models("berth_report_lines = 0")
    served.write(
        test_it="""
            from pytest_berth.isolation import recorder
            from sqlalchemy import text

            def test_not_recorded(pg_session, pytestconfig):
                assert recorder.of(pytestconfig) is None

            def test_counted(pg_session, pg_queries):
                for number in range(11):
                    pg_session.execute(text(f"SELECT {number}"))
                assert [each.times for each in pg_queries.repeated()] == [11]
        """
    )
    result = served.run()
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["hint: test_it.py:9 loads by one query for each object *: ask *"])


def test_a_limit_that_is_no_number_ends_the_run(project: Project) -> None:
    project.write(
        test_it="""
            import pytest

            @pytest.mark.berth_pg(max_queries="5")
            def test_it(pg_session): pass
        """
    )
    result = project.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "ERROR: max_queries is '5', which is no number of statements.",
            "  why: @pytest.mark.berth_pg(max_queries=...) at test_it.py::test_it",
            "  do:  use a whole number, such as 5; 0 for none",
        ]
    )
