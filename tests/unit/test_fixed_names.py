"""Names that the settings fix: what is refused, what they make of an account, whose port it is."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from ini_settings import settings
from pytest_berth.api import Server
from pytest_berth.config.options import Setting, describe
from pytest_berth.errors import SettingsError, StartError
from pytest_berth.reporting.redaction import Redaction
from pytest_berth.run.reuse.handover import Reuse
from pytest_berth.services.postgres import options as ini
from pytest_berth.services.postgres.isolation import choice
from pytest_berth.services.postgres.server import connections, fixed_names
from pytest_berth.services.postgres.service import POSTGRES
from pytest_berth.sources import ports


def berth(workers: int, **given: str) -> Any:
    """Return what is known in one of several workers."""
    return SimpleNamespace(
        settings=settings(POSTGRES, **given), run=SimpleNamespace(workers=workers)
    )


def told(error: SettingsError | StartError) -> str:
    """Return a message's three parts."""
    return f"{error.what}\n{error.why}\n{error.remedy}"


@pytest.mark.parametrize(
    ("workers", "given", "parts"),
    [
        (
            4,
            {"berth_pg_database": "shop"},
            [
                "several workers cannot work in one database.",
                "berth_pg_database = shop (pytest.ini); 4 workers",
                "berth_pg_scope = worker  #",
            ],
        ),
        (
            2,
            {"berth_pg_port": "5433", "berth_pg_scope": "worker"},
            [
                "several workers cannot each have a server at the same port.",
                "berth_pg_port = 5433 (pytest.ini); 2 workers",
                "leave berth_pg_port out, set berth_pg_scope = worker",
                "run without -n",
            ],
        ),
        (
            1,
            {"berth_pg_password": "secret", "berth_pg_url": "postgresql://me:word@db/shop"},
            [
                "berth_pg_password has no effect on a server that is given by URL.",
                "berth_pg_password = *** (pytest.ini);"
                " berth_pg_url = postgresql://me:***@db/shop (pytest.ini)",
                "berth_pg_source = container (or local)",
            ],
        ),
    ],
)
def test_names_that_a_run_cannot_have_are_refused(
    workers: int, given: dict[str, str], parts: list[str]
) -> None:
    with pytest.raises(SettingsError) as caught:
        fixed_names.check(berth(workers, **given))
    assert [part for part in parts if part not in told(caught.value)] == []


@pytest.mark.parametrize(
    ("workers", "given"),
    [
        (1, {"berth_pg_database": "shop", "berth_pg_port": "5433"}),
        (8, {"berth_pg_database": "shop", "berth_pg_scope": "worker"}),
        (8, {"berth_pg_user": "app", "berth_pg_password": "app"}),
        (
            1,
            {
                "berth_pg_database": "shop",
                "berth_pg_url": "postgresql://db/shop",
                "berth_pg_source": "local",
            },
        ),
    ],
)
def test_names_that_a_run_can_have_are_taken(workers: int, given: dict[str, str]) -> None:
    fixed_names.check(berth(workers, **given))


def test_a_server_without_chosen_names_is_as_ever() -> None:
    account = POSTGRES.backend.account(settings(POSTGRES))
    assert (account.user, account.database, account.fixed, account.given) == (
        "berth",
        "postgres",
        "",
        False,
    )


def test_each_server_has_a_token_of_its_own_that_no_setting_replaces() -> None:
    given = settings(POSTGRES, berth_pg_settings=["pytest_berth.server = known", "work_mem = 8MB"])
    accounts = [POSTGRES.backend.account(given) for _ in range(2)]
    tokens = [each.token for each in accounts]
    assert all(tokens)
    assert len(set(tokens)) == 2
    command = POSTGRES.backend.container(given, accounts[0]).command
    assert f"{connections.TOKEN}={tokens[0]}" in command
    assert not any("known" in word for word in command)
    assert POSTGRES.backend.local_identity(given) == POSTGRES.backend.local_identity(given)


def test_the_administrator_leaves_the_database_that_tests_are_to_have() -> None:
    assert (
        POSTGRES.backend.account(settings(POSTGRES, berth_pg_database="postgres")).database
        == "template1"
    )
    assert (
        POSTGRES.backend.account(settings(POSTGRES, berth_pg_database="shop")).database
        == "postgres"
    )


def test_a_chosen_password_is_replaced_only_where_it_stands_as_one() -> None:
    def redact(account: Any) -> str:
        server = Server("postgres", "local", "h", 1, account)
        return Redaction.of([server]).text(f"{account.password} postgres://u:{account.password}@h")

    chosen = POSTGRES.backend.account(settings(POSTGRES, berth_pg_password="shop"))
    assert redact(chosen) == "shop postgres://u:***@h"
    made = POSTGRES.backend.account(settings(POSTGRES, berth_pg_port="5433"))
    assert redact(made) == "*** postgres://u:***@h"
    shown = describe("berth_pg_password", Setting("shop", "pytest.ini"))
    assert shown == "berth_pg_password = *** (pytest.ini)"


def test_a_fixed_name_is_another_way_into_the_database() -> None:
    chosen = choice.choose(
        {"pg_session"}, None, settings(POSTGRES, berth_pg_database="shop"), exported=False
    )
    assert str(chosen) == "truncation: berth_pg_database is another way in"


def test_a_server_with_chosen_names_is_not_kept_for_the_next_run() -> None:
    def is_kept(**given: str) -> bool:
        nothing: Any = None
        return Reuse(nothing, settings(POSTGRES, berth_keep="10m", **given), nothing, ()).is_wanted(
            POSTGRES
        )

    assert is_kept()
    assert not is_kept(berth_pg_user="app")


@pytest.mark.parametrize(
    ("option", "value", "advice"),
    [
        (ini.SCOPE, "test", "use run or worker; berth_pg_isolation = database is for each test"),
        (ini.USER, "pg_app", "use another name"),
        (ini.DATABASE_NAME, "template1", "use another name"),
        (ini.DATABASE_NAME, "berth_shop", "use another name"),
        (ini.DATABASE_NAME, "x" * 64, "use a name of at most 63 bytes"),
        (ini.PORT, "0", "use a number from 1 to 65535"),
        (ini.PORT, "70000", "use a number from 1 to 65535"),
        (ini.PORT, "any", "use a number from 1 to 65535"),
    ],
)
def test_a_name_that_cannot_be_used_is_refused(option: Any, value: str, advice: str) -> None:
    with pytest.raises(ValueError, match=advice):
        option.parse(value)


def test_a_port_that_something_listens_at_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(StartError) as caught:
            ports.claim(POSTGRES, settings(POSTGRES, berth_pg_port=str(port)), [])
    assert caught.value.what == f"port {port} is taken."
    assert f"berth_pg_port = {port} (pytest.ini); " in caught.value.why
    assert f"(pid {os.getpid()}) listens there" in caught.value.why
    assert "set another port by berth_pg_port, or leave berth_pg_port out" in caught.value.remedy


def test_a_port_that_another_run_has_is_refused() -> None:
    reserved = ports.reserve()
    given = settings(POSTGRES, berth_pg_port=str(reserved.port))
    with pytest.raises(StartError) as caught:
        ports.claim(POSTGRES, given, [])
    assert "another run of pytest-berth has it: `pytest-berth ps` lists the runs" in (
        caught.value.why
    )
    ports.claim(POSTGRES, given, [reserved])
