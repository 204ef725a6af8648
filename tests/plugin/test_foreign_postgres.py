"""Another server comes to the port of one of berth's, lets berth in, and must lose nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import foreign
from marks import usual
from pytest_berth.run.reuse.records import Records
from temporary import open_home

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Project

CONFTEST = """
    import os
    from pathlib import Path

    import pytest

    import foreign
    from pytest_berth.run.plugin_state import PLUGIN_STATE
    from pytest_berth.services.postgres.service import POSTGRES

    ROOT = Path(__file__).parent

    @pytest.fixture
    def take_over(pytestconfig):
        server = pytestconfig.stash[PLUGIN_STATE].manager.server(POSTGRES)
        return lambda: foreign.take_over(
            server, Path(os.environ["FOREIGN_DATA"]), ROOT / foreign.FILE
        )

    @pytest.fixture
    def taken_over_before_clean_up(take_over):
        yield
        take_over()

    @pytest.fixture(scope="module")
    def taken_over_between(pytestconfig):
        yield
        server = pytestconfig.stash[PLUGIN_STATE].manager.server(POSTGRES)
        foreign.take_over(server, Path(os.environ["FOREIGN_DATA"]), ROOT / foreign.FILE)
"""
SCHEMA = "CREATE TABLE written (n serial)"
WRITES = """
    from sqlalchemy import text

    def write(engine):
        with engine.begin() as connection:
            connection.execute(text("INSERT INTO written DEFAULT VALUES"))
"""
MOMENTS = {
    "between set-up and restore": """
        from writes import write

        def test_before(pg_engine):
            write(pg_engine)

        def test_it(pg_engine, take_over):
            write(pg_engine)
            take_over()

        def test_after(pg_engine):
            write(pg_engine)
    """,
    "after the test": """
        from writes import write

        def test_it(pg_engine, taken_over_before_clean_up):
            write(pg_engine)
    """,
    "in rollback": """
        from sqlalchemy import text

        def test_it(pg_session, take_over):
            pg_session.execute(text("INSERT INTO written DEFAULT VALUES"))
            take_over()

        def test_after(pg_session):
            pg_session.execute(text("INSERT INTO written DEFAULT VALUES"))
    """,
    "in a private database": """
        from sqlalchemy import text

        def test_it(pg_database, take_over):
            with pg_database.engine.begin() as connection:
                connection.execute(text("DROP TABLE written"))
            take_over()

        def test_after(pg_database):
            pg_database.engine
    """,
    "when the run leaves": """
        from writes import write

        def test_it(pg_engine, taken_over_between):
            write(pg_engine)
    """,
}
NOT_OURS = "is not berth's"
KEPT = """
    from writes import write

    def test_it(pg_engine, pg_session):
        write(pg_engine)
"""


@pytest.fixture
def data(require_source: Callable[[str], None]) -> Iterator[Path]:
    """The data of a server that is not berth's."""
    require_source("local")
    with open_home() as place:
        yield foreign.initialise(place / "server")


@pytest.fixture
def note(project: Project, data: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file that tells of the foreign server; it ends with the test."""
    monkeypatch.setenv("FOREIGN_DATA", str(data))
    project.write(foreign=Path(foreign.__file__).read_text(), writes=WRITES)
    project.conftest(CONFTEST)
    (project.root / "schema.sql").write_text(SCHEMA)
    project.ini("berth_source = local", "berth_pg_schema = schema.sql", "berth_start_timeout = 60")
    path = project.root / foreign.FILE
    yield path
    foreign.end(path)


def require_untouched(note: Path) -> None:
    """Compare what the foreign server holds with what it held when it came."""
    told = json.loads(note.read_text())
    assert len(told["held"]) > 8
    assert foreign.held(told["port"]) == told["held"]


@pytest.mark.parametrize(
    "moment", usual(MOMENTS, "between set-up and restore", "in a private database")
)
def test_a_foreign_server_at_our_port_loses_nothing(
    project: Project, note: Path, moment: str
) -> None:
    project.write(test_it=MOMENTS[moment])
    result = project.run("-p", "no:randomly")
    require_untouched(note)
    if moment != "when the run leaves":
        assert "the postgres server is lost." in result.stdout.str()
    if "test_after" in MOMENTS[moment]:
        assert NOT_OURS in result.stdout.str()


def test_a_foreign_server_at_the_port_of_a_kept_one_loses_nothing(
    project: Project, note: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write(test_it=KEPT)
    with open_home() as place:
        monkeypatch.setenv("TMPDIR", str(place))
        arguments = ("--berth-keep=10m", "-p", "no:randomly")
        project.run(*arguments).assert_outcomes(passed=1)
        (record,) = Records(next(place.glob("berth-kept-*"))).all()
        names = foreign.databases_of(record.server)
        assert any(name.startswith("berth_") for name in names)
        foreign.kill(record.server)
        foreign.start(record.server.port, data, names, note)

        result = project.run(*arguments)

        result.assert_outcomes(passed=1)
        result.stdout.fnmatch_lines(["*the server kept for this project is passed over: *"])
        assert NOT_OURS in result.stdout.str()
        require_untouched(note)
        assert project.run("--berth-stop").ret == 0
        require_untouched(note)
