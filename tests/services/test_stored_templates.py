"""Templates that a kept server holds for later runs, and what is left of one that was dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_berth.services.postgres import urls
from pytest_berth.services.postgres.databases import run_databases, stored_templates, template_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    import psycopg

    from pytest_berth.api import Server

RUN = "keeping"
NAME = "berth_template_00000000000e4e47"


@pytest.fixture
def server(outer_url: str) -> Server:
    """Return the outer run's server, as an external one."""
    return urls.server(outer_url, "tests")


@pytest.fixture
def admin(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[psycopg.Connection]:
    """Connect to a server on which no template but the test's is taken for a kept one."""
    monkeypatch.setattr(template_name, "PATTERN", f"^{NAME}$")
    with run_databases.administration(server) as connection:
        yield connection
        if run_databases.exists(connection, NAME):
            run_databases.remove(connection, NAME)
    run_databases.drop_all(server, RUN)


def make(admin: psycopg.Connection, server: Server, name: str) -> None:
    """Make an empty template."""
    run_databases.create(admin, server, RUN, name, run_databases.EMPTY)
    run_databases.seal(admin, name)


def test_a_template_whose_drop_was_interrupted_is_not_lent_and_gives_up_its_name(
    admin: psycopg.Connection, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = stored_templates.StoredTemplate(admin, NAME)
    make(admin, server, NAME)
    assert known.find() == NAME
    run_databases.unseal(admin, NAME)
    # So PostgreSQL marks what it has begun to remove.
    admin.execute("UPDATE pg_database SET datconnlimit = -2 WHERE datname = %s", [NAME])
    assert known.find() is None

    made = run_databases.database_name(RUN, run_databases.TEMPLATE)
    make(admin, server, made)
    known.mark(made)
    assert stored_templates.rename(admin, RUN)
    assert known.find() == NAME

    monkeypatch.setattr(stored_templates, "MOST", 0)
    stored_templates.drop_oldest(admin)
    assert not run_databases.exists(admin, NAME)
