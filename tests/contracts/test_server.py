"""What a server is like, wherever it comes from."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import psycopg
import pytest

from pytest_berth.config.options import defaults
from pytest_berth.errors import NotOursError
from pytest_berth.services.postgres.databases import run_databases
from pytest_berth.services.postgres.server import connections
from pytest_berth.services.postgres.service import POSTGRES
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.contracts.conftest import Berthed, Stage

FIT_FOR_TESTS = {
    "fsync": "off",
    "synchronous_commit": "on",
    "full_page_writes": "off",
    "autovacuum": "off",
    "max_connections": "300",
}


def test_the_server_answers_and_has_the_default_version(berthed: Berthed) -> None:
    assert berthed.query("SHOW server_version") == berthed.server.version
    assert berthed.server.version.split(".")[0] == "17"


def test_one_line_tells_what_runs_where_and_why(berthed: Berthed) -> None:
    (line,) = [line for line in berthed.notes if line.startswith("postgres 17.")]
    server = berthed.server
    for part in (server.source, server.detail, f"{server.host}:{server.port}", server.reason):
        assert part
        assert part in line
    assert server.credentials.password not in line


def test_settings_fit_for_tests_are_in_force(started: Berthed) -> None:
    found = {name: started.query(f"SHOW {name}") for name in FIT_FOR_TESTS}
    assert found == FIT_FOR_TESTS


def test_settings_of_the_user_are_in_force_and_go_first(starting: str, stage: Stage) -> None:
    settings = ["work_mem = 64MB", "fsync=on", 'search_path = "$user", public', "# a comment"]
    berthed = stage.start(starting, berth_pg_settings=settings)
    assert berthed.query("SHOW work_mem") == "64MB"
    assert berthed.query("SHOW fsync") == "on"
    assert berthed.query("SHOW search_path") == '"$user", public'
    assert berthed.query("SHOW full_page_writes") == "off"


def test_databases_are_in_utf_8(berthed: Berthed) -> None:
    encodings = "SELECT string_agg(DISTINCT pg_encoding_to_char(encoding), ' ') FROM pg_database"
    assert berthed.query(encodings) == "UTF8"


TEXT = r"""
    SELECT array_agg(word ORDER BY word) FROM unnest('{b,A,a,B,é,z,É,_,10,9,ß}'::text[]) word
    UNION ALL SELECT ARRAY[
        upper('straße école'), lower('ÉCOLE ΣÀ'), initcap('été'),
        to_tsvector('simple', 'ÉCOLE')::text, to_tsvector('french', 'ÉCOLES')::text,
        ('É' ILIKE 'é')::text, ('École' ~* 'éCOLE')::text, ('é' ~ '^\w$')::text,
        to_char(1234567.5, '9G999G999D9'), 12.5::money::text, to_char(date '2026-05-01', 'TMMonth')]
    UNION ALL SELECT ARRAY[datcollate, datctype, pg_encoding_to_char(encoding)]
        FROM pg_database WHERE datname = current_database()
"""
SAME_TEXT = [
    ["10", "9", "A", "B", "_", "a", "b", "z", "É", "ß", "é"],
    [
        *("STRAßE ÉCOLE", "école σà", "Été", "'école':1", "'écol':1"),
        *("true", "true", "true", " 1,234,567.5", "$12.50", "May"),
    ],
    ["C", "UTF-8" if sys.platform == "darwin" else "C.UTF-8", "UTF8"],
]


def _text(berthed: Berthed) -> list[list[str]]:
    with psycopg.connect(berthed.dsn) as connection:
        return [words for (words,) in connection.execute(TEXT)]


def test_text_has_the_same_order_and_letters_from_every_source(started: Berthed) -> None:
    assert _text(started) == SAME_TEXT


@pytest.mark.parametrize("version", ["13", "18"])
def test_text_has_the_same_order_and_letters_in_every_version(
    stage: Stage, require_source: Callable[[str], None], version: str
) -> None:
    require_source("local")
    assert _text(stage.start("local", berth_pg_version=version)) == SAME_TEXT


def test_only_loopback_addresses_listen(started: Berthed) -> None:
    listening = {
        entry.laddr.ip
        for entry in psutil.net_connections("tcp")
        if entry.status == psutil.CONN_LISTEN and entry.laddr.port == started.server.port
    }
    assert listening == {"127.0.0.1"}


def test_a_wrong_password_is_refused(started: Berthed) -> None:
    password = started.server.credentials.password
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(started.dsn.replace(password, "wrong"))


def test_no_command_line_on_this_machine_has_the_password(berthed: Berthed) -> None:
    password = berthed.server.credentials.password
    assert password
    assert not [line for line in _command_lines() if password in line]


def test_the_password_is_in_no_representation(berthed: Berthed) -> None:
    assert berthed.server.credentials.password not in f"{berthed.server!r} {berthed.server}"


def test_every_server_gets_a_password_of_its_own() -> None:
    settings = defaults(Path(), POSTGRES.options)
    passwords = {POSTGRES.backend.account(settings).password for _ in range(10)}
    assert len(passwords) == 10


def test_the_log_can_be_read_since_a_mark(started: Berthed) -> None:
    _log_something(started, "before_the_mark")
    mark = started.source.log_position(started.server)
    _log_something(started, "after_the_mark")
    since = started.source.log(started.server, mark)
    assert "after_the_mark" in since
    assert "before_the_mark" not in since
    assert "before_the_mark" in started.source.log(started.server, 0)


def test_a_running_server_has_not_ended(berthed: Berthed) -> None:
    assert berthed.source.exit_status(berthed.server) is None


def test_another_process_of_the_run_can_read_the_server_from_the_registry(berthed: Berthed) -> None:
    assert berthed.manager.registry.read("ready", "postgres") == berthed.server
    noted = berthed.manager.run.directory / "postgres.ready.json"
    assert json.loads(noted.read_text())["version"] == berthed.server.version
    assert noted.stat().st_mode & 0o077 == 0


def _log_something(berthed: Berthed, word: str) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        berthed.query(f"SELECT 1 FROM {word}")
    wait_for(lambda: word in berthed.source.log(berthed.server, 0), 30)


def _command_lines() -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_text(errors="replace"))
        except (FileNotFoundError, ProcessLookupError):
            continue
    assert found
    return found


def test_another_server_with_the_same_account_is_not_touched(
    require_source: Callable[[str], None], stage: Stage
) -> None:
    require_source("local")
    started = stage.start("local", berth_pg_database="shop", berth_pg_password="shop")
    assert POSTGRES.backend.probe(started.server)

    account = replace(started.server.credentials, token="of another server")
    ours = replace(started.server, credentials=account)
    with pytest.raises(NotOursError) as caught:
        POSTGRES.backend.probe(ours)
    assert caught.value.what == f"the server at 127.0.0.1:{ours.port} is not berth's."
    assert "it is not the server that berth has started there" in caught.value.why
    assert caught.value.remedy.endswith("where berth_pg_port fixes the port, set another one")
    with pytest.raises(NotOursError), run_databases.administration(ours):
        pass


WRITER = "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'"


def test_a_server_that_recovers_from_a_crash_is_waited_for(
    require_source: Callable[[str], None], stage: Stage
) -> None:
    require_source("local")
    server = stage.start("local").server

    def is_recovering() -> bool:
        try:
            connections.connect_at_once(server, "postgres").close()
        except psycopg.OperationalError as error:
            return "recovery mode" in str(error)
        return False

    with connections.connect(server, "postgres") as connection:
        row = connection.execute(WRITER).fetchone()
        assert row
        # What cannot end keeps the server from recovering, for the five seconds it is given.
        os.kill(row[0], signal.SIGSTOP)
        os.kill(connection.info.backend_pid, signal.SIGKILL)
        wait_for(is_recovering, 60)
    with connections.connect(server, "postgres") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
