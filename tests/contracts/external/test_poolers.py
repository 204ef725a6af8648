"""A server behind PgBouncer, where that is installed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url

from pytest_berth import wait_for
from pytest_berth.sources import os_account, ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Project
    from tests.contracts.external.conftest import Site

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CONFIGURATION = """
[databases]
* = host={host} port={pg_port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = plain
auth_file = {directory}/users.txt
pool_mode = {mode}
ignore_startup_parameters = extra_float_digits
logfile = {directory}/log
"""


@pytest.fixture
def pool(site: Site, open_place: Path) -> Iterator[Callable[[str], str]]:
    """Give what starts a pooler of some mode before the server, and returns the role's URL."""
    if PROGRAM is None:
        pytest.skip("PgBouncer is not installed")
    started: list[subprocess.Popen[bytes]] = []
    server = make_url(site.administration)

    def start(mode: str) -> str:
        reserved = ports.reserve()
        (open_place / "users.txt").write_text(f'"{site.name}" "{site.password}"\n')
        configuration = open_place / "pgbouncer.ini"
        configuration.write_text(
            CONFIGURATION.format(
                host=server.host,
                pg_port=server.port,
                port=reserved.port,
                mode=mode,
                directory=open_place,
            )
        )
        for path in (open_place, *open_place.iterdir()):
            os_account.give(path)
        command = [str(PROGRAM), "-q", str(configuration)]
        started.append(subprocess.Popen(command, **os_account.identity()))
        wait_for(lambda: "process up" in (open_place / "log").read_text(), 30, ignore=OSError)
        return site.url(host="127.0.0.1", port=reserved.port)

    yield start
    for process in started:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


@pytest.fixture
def shop(project: Project, site: Site) -> Project:
    site.allow("CREATEDB")
    project.models()
    project.write(
        test_it="""
        import pytest
        from sqlalchemy import func, insert, select
        from models import User

        def use(connection):
            assert connection.scalar(select(func.count()).select_from(User)) == 0
            connection.execute(insert(User).values(email="new@example.com"))

        @pytest.mark.parametrize("number", range(2))
        def test_rolled_back(pg_session, number):
            use(pg_session)

        @pytest.mark.parametrize("number", range(2))
        def test_committed(pg_engine, number):
            with pg_engine.begin() as connection:
                use(connection)

        @pytest.mark.berth_pg(isolation="database")
        @pytest.mark.parametrize("number", range(2))
        def test_private(pg_engine, number):
            with pg_engine.begin() as connection:
                use(connection)
        """
    )
    return project


def test_tests_run_behind_a_pooler_that_leaves_sessions_to_their_clients(
    shop: Project, site: Site, pool: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = site.contents()
    monkeypatch.setenv("BERTH_PG_URL", pool("session"))
    shop.run().assert_outcomes(passed=6)
    assert site.contents() == before


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_gives_sessions_to_others_is_refused(
    mode: str,
    shop: Project,
    site: Site,
    pool: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = site.contents()
    monkeypatch.setenv("BERTH_PG_URL", pool(mode))
    result = shop.run("-x")
    result.assert_outcomes(errors=1)
    text = result.stdout.str()
    assert "gives the sessions of a client to others." in text
    assert "pool_mode = session" in text
    assert site.contents() == before
