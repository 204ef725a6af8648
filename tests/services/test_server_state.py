"""What tests change beside their databases is seen before the next run is given a kept server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.services.postgres import reset_for_reuse, urls
from pytest_berth.services.postgres.databases import run_databases

if TYPE_CHECKING:
    import psycopg

CHANGES = (
    "SELECT pg_replication_origin_create('left')",
    "ALTER ROLE CURRENT_USER CONNECTION LIMIT 90",
    "ALTER ROLE CURRENT_USER VALID UNTIL '2100-01-01'",
    "COMMENT ON ROLE ME IS 'left'",
    "ALTER ROLE CURRENT_USER SET work_mem = '8MB'",
    "GRANT pg_monitor TO CURRENT_USER",
    "GRANT pg_read_all_data TO pg_monitor",
    "CREATE ROLE left_behind",
    "ALTER DATABASE template1 CONNECTION LIMIT 40",
    "ALTER DATABASE template1 SET work_mem = '8MB'",
    "ALTER DATABASE template1 IS_TEMPLATE false",
    "GRANT CREATE ON DATABASE postgres TO PUBLIC",
    "GRANT CREATE ON DATABASE template1 TO PUBLIC",
    "REVOKE CONNECT ON DATABASE postgres FROM PUBLIC",
    "COMMENT ON DATABASE postgres IS 'left'",
    "GRANT CREATE ON TABLESPACE pg_default TO PUBLIC",
    "ALTER TABLESPACE pg_default SET (random_page_cost = 2)",
)


def test_each_change_of_what_all_databases_share_is_told(outer_url: str) -> None:
    unseen = []
    with run_databases.administration(urls.server(outer_url, "tests")) as connection:
        before = _without_others(connection)
        for statement in CHANGES:
            user = connection.info.user
            with connection.transaction(force_rollback=True):
                query = statement.replace("ROLE ME", f'ROLE "{user}"')
                connection.execute(query.encode())
                if _without_others(connection) == before:
                    unseen.append(statement)
        assert _without_others(connection) == before
    assert unseen == []
    assert not [each for each in before if each.startswith("state of")], "as initdb makes it"


def _without_others(connection: psycopg.Connection[Any]) -> list[str]:
    """Leave out databases of runs that other workers' tests have on the same server."""
    found = reset_for_reuse.in_cluster(connection)
    return sorted(each for each in found if not each.startswith("database berth_"))
