"""Plans of what a test has sent: for whichever placeholders, and nothing is carried out."""

from __future__ import annotations

from datetime import date
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg

from pytest_berth.isolation.recorder import Cut, Opaque
from pytest_berth.run.plugin_state import PLUGIN_STATE
from pytest_berth.services.postgres.failure import plans
from pytest_berth.services.postgres.service import POSTGRES

if TYPE_CHECKING:
    import pytest

PLANNED: dict[str, Any] = {
    "SELECT count(*) FROM numbers": None,
    "-- a comment\n(select n from numbers) /* and */": None,
    "SELECT 5 %% 2, n FROM numbers WHERE n = %s AND day < %s": [1, date(2024, 2, 29)],
    "SELECT n FROM numbers WHERE n = %(n)s::INTEGER OR n + 1 = %(n)s": {"n": 1},
    "SELECT n FROM numbers WHERE n = $2 AND name = $1": [Cut("long", 2000), 1],
    "SELECT n FROM numbers WHERE name LIKE 'a%'": None,
    "INSERT INTO numbers (n, name) VALUES (%s, %s)": [1, None],
    "UPDATE numbers SET n = n + %s": [1],
    "WITH gone AS (DELETE FROM numbers RETURNING n) SELECT * FROM gone": None,
}
NOT_PLANNED: dict[str, Any] = {
    "SELECT 1; INSERT INTO numbers (n) VALUES (7)": None,
    "TRUNCATE numbers": None,
    "ANALYZE numbers": None,
    "SELECT n FROM numbers WHERE name = %s": [Opaque("Jsonb")],
    "SELECT n FROM numbers WHERE name = %s AND n = %s": ["of several"],
    "SELECT n FROM nowhere": None,
}


def test_plans_are_told_and_nothing_is_carried_out(
    pg_dsn: str, pytestconfig: pytest.Config
) -> None:
    server = pytestconfig.stash[PLUGIN_STATE].manager.server(POSTGRES)
    with psycopg.connect(pg_dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE numbers (n int, name text, day date)")
        connection.execute("INSERT INTO numbers (n) VALUES (1)")
        name = connection.info.dbname
        database: Any = SimpleNamespace(server=server, active=SimpleNamespace(database=name))
        asked = [*PLANNED.items(), *NOT_PLANNED.items()]

        told = plans.of(database, asked)

        with_plan = {text for (text, _), plan in zip(asked, told, strict=True) if "cost=" in plan}
        assert with_plan == set(PLANNED)
        assert connection.execute("SELECT n FROM numbers").fetchall() == [(1,)]
