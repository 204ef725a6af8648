"""What others find between rolled-back tests, and at their end: sequences, uncommitted rows."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.conftest import Project

pytestmark = pytest.mark.integration

# Of the first two, others give values away in advance, without a transaction id; of the third, too.
SCHEMA = """
CREATE TABLE item (id serial PRIMARY KEY);
CREATE SEQUENCE invoice START 100;
CREATE UNLOGGED TABLE note (id serial PRIMARY KEY);
CREATE TABLE sale (id serial PRIMARY KEY, item int REFERENCES item);
"""
SEED = "INSERT INTO item DEFAULT VALUES; SELECT nextval('invoice');"
MANY = "".join(f"CREATE SEQUENCE used_{n}; SELECT nextval('used_{n}');" for n in range(25))
CONFTEST = """
    import psycopg
    import pytest

    NAMES = ("item_id_seq", "invoice", "note_id_seq", "sale_id_seq")
    stood = dict(zip(NAMES, (1, 100, 0, 0)))
    # What others move, before the test with this number.
    MOVES = {1: NAMES[:2], 2: NAMES[:1], 3: NAMES[1:2], 4: NAMES[2:], 6: NAMES, 8: NAMES[2:]}
    addresses = []

    @pytest.fixture(scope="session", autouse=True)
    def address(pg_dsn):
        addresses.append(pg_dsn)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(item):
        for name in MOVES.get(item.callspec.params["number"], ()):
            with psycopg.connect(addresses[0], autocommit=True) as connection:
                ((value,),) = connection.execute("SELECT nextval(%s)", [name])
            stood[name] += 1
            assert value == stood[name]
"""
TESTS = """
    import pytest
    from sqlalchemy import text
    from conftest import NAMES, stood

    # What a test has moved, and was set back, gives no values away in advance.
    USES = {0: (), 1: (), 2: NAMES[:1], 3: NAMES[1:3], 5: (), 6: (), 7: NAMES[3:]}

    @pytest.mark.parametrize("number", range(10))
    @pytest.mark.berth_pg(isolation="rollback")
    def test_it(pg_session, number):
        now = {name: pg_session.scalar(text(f"SELECT last_value FROM {name}")) for name in NAMES}
        assert now == {name: stood[name] or 1 for name in NAMES}
        for name in USES.get(number, NAMES):
            for more in (1, 2):
                assert pg_session.scalar(text(f"SELECT nextval('{name}')")) == stood[name] + more
"""


@pytest.mark.parametrize("more", ["", MANY], ids=["few", "many"])
def test_sequences_stand_where_they_stood_before_each_test_whoever_moved_them_in_between(
    served: Project, more: str
) -> None:
    served.ini("berth_pg_schema = schema.sql", "berth_pg_seed = seed.sql")
    (served.root / "schema.sql").write_text(SCHEMA)
    (served.root / "seed.sql").write_text(SEED + more)
    served.conftest(CONFTEST)
    served.write(test_it=TESTS)
    served.run().assert_outcomes(passed=10)


def test_a_sequence_that_a_fixture_sets_before_its_first_use_stays_so_as_long_as_the_fixture(
    served: Project,
) -> None:
    served.ini("berth_pg_schema = schema.sql")
    (served.root / "schema.sql").write_text(SCHEMA)
    served.write(
        test_it="""
        import psycopg
        import pytest
        from sqlalchemy import text

        pytestmark = pytest.mark.berth_pg(isolation="rollback")
        NEXT = text("SELECT nextval('sale_id_seq')")

        def test_before(pg_session):
            assert pg_session.scalar(NEXT) == 1

        class TestSet:
            @pytest.fixture(scope="class", autouse=True)
            def set_it(self, pg_dsn):
                with psycopg.connect(pg_dsn, autocommit=True) as connection:
                    connection.execute("SELECT setval('sale_id_seq', 500, false)")

            def test_0(self, pg_session): pass
            def test_1(self, pg_session):
                assert pg_session.scalar(NEXT) == 500
            def test_2(self, pg_session):
                assert pg_session.scalar(NEXT) == 500

        def test_after(pg_session):
            assert pg_session.scalar(NEXT) == 1
        """
    )
    served.run("-p", "no:randomly").assert_outcomes(passed=5)


def test_what_a_session_has_not_committed_is_gone_for_those_who_look_after_its_end(
    served: Project,
) -> None:
    served.models()
    served.conftest("""
        import pytest
        from sqlalchemy import select
        from models import User

        @pytest.fixture
        def looked(pg_connection):
            yield
            found = pg_connection.scalars(select(User.email)).all()
            assert found == ["committed"]

        @pytest.fixture
        async def looked_async(pg_async_session):
            yield
            found = (await pg_async_session.scalars(select(User.email))).all()
            assert found == ["committed"]
    """)
    served.write(
        test_it="""
            import pytest
            from sqlalchemy import select
            from models import User

            def write(session):
                session.add(User(email="committed"))
                session.commit()
                session.add(User(email="left"))
                session.flush()

            def test_by_a_connection(looked, pg_session):
                write(pg_session)

            def test_by_an_async_session(looked_async, pg_session):
                write(pg_session)

            @pytest.mark.parametrize("n", [1, 2])
            def test_by_the_next_test(pg_session, n):
                assert pg_session.scalars(select(User.email)).all() == []
                write(pg_session)
        """
    )
    served = replace(served, plugins=("asyncio",))
    served.run("-o", "asyncio_mode=auto").assert_outcomes(passed=4)
