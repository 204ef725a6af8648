"""External servers: what each right of the role enables, and that nothing else is touched."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from marks import nightly

if TYPE_CHECKING:
    from tests.conftest import Project
    from tests.contracts.external.conftest import Site

TESTS = """
    from sqlalchemy import text

    INSERT = text("INSERT INTO users (email) VALUES ('new@example.com')")
    COUNT = text("SELECT count(*) FROM users WHERE email = 'new@example.com'")

    def test_rolled_back_once(pg_session):
        pg_session.execute(INSERT)
        pg_session.commit()

    def test_rolled_back_again(pg_session):
        assert pg_session.scalar(COUNT) == 0
        pg_session.execute(INSERT)
"""
COMMITTING = """
    from test_rolled_back import COUNT, INSERT

    def test_committed_once(pg_engine):
        with pg_engine.begin() as connection:
            connection.execute(INSERT)

    def test_committed_again(pg_engine):
        with pg_engine.begin() as connection:
            assert connection.scalar(COUNT) == 0
            connection.execute(INSERT)
"""
RIGHTS = {"superuser": "SUPERUSER", "role with CREATEDB": "CREATEDB"}


@pytest.fixture
def shop(project: Project) -> Project:
    """A project with tests that are rolled back, and tests that commit."""
    project.models()
    project.write(test_rolled_back=TESTS, test_committing=COMMITTING)
    return project


@pytest.mark.parametrize(
    ("found", "workers"),
    [
        ("superuser", "0"),
        ("role with CREATEDB", "2"),
        *nightly(("superuser", "2"), ("role with CREATEDB", "0")),
    ],
)
def test_a_role_that_may_create_databases_works_in_its_own(
    shop: Project, site: Site, found: str, workers: str
) -> None:
    site.allow(RIGHTS[found])
    similar = [f"berth_{site.name}_template", f"berth_{site.name}", f"berthed_{site.name}"]
    for name in similar:
        site.execute(f"CREATE DATABASE {name} OWNER {site.name}")
    try:
        before = site.contents()
        shop.plugins = ("xdist", "xdist.looponfail")
        result = shop.run("--berth-pg-url", site.url(), "-n", workers)
        result.assert_outcomes(passed=4)
        assert f"'{site.name}' is a {found}: " in result.stdout.str()
        assert site.contents() == before
        site.expect_no_sessions()
    finally:
        for name in similar:
            site.execute(f"DROP DATABASE {name}")


def test_databases_are_dropped_after_failing_tests_too(shop: Project, site: Site) -> None:
    site.allow("CREATEDB")
    before = site.contents()
    shop.write(
        test_failing="""
        def test_failing(pg_url, pg_session):
            assert pg_url == ""
    """
    )
    result = shop.run("--berth-pg-url", site.url(), "-x", "test_failing.py", "test_rolled_back.py")
    result.assert_outcomes(failed=1)
    assert quote(site.password, safe="") not in result.stdout.str()
    assert site.password not in result.stdout.str()
    assert site.contents() == before
    site.expect_no_sessions()


@pytest.mark.parametrize(
    ("found", "reset"), [("database owner", "berth_pg_allow_reset = other_*"), ("plain role", "")]
)
def test_a_role_that_may_not_create_databases_is_rolled_back_and_commits_nothing(
    shop: Project, site: Site, found: str, reset: str
) -> None:
    site.allow()
    if found == "database owner":
        site.own()
    shop.models(reset)  # a glob that does not fit allows nothing
    before = site.contents()
    result = shop.run("--berth-pg-url", site.url())
    result.assert_outcomes(passed=2, errors=2)
    assert f"'{site.name}' is a {found}: " in result.stdout.str()
    result.stdout.fnmatch_lines(
        [
            "*ERROR at setup of test_committed_once*",
            f"*isolation 'truncation' is not possible in the database '{site.name}'.",
            f"*why: pg_engine is another way in; *'{site.name}' is a {found} and cannot create*",
            f"*do:  ALTER ROLE {site.name} CREATEDB",
            f"*or, if all its data may go: berth_pg_allow_reset = {site.name}",
        ]
    )
    assert site.contents() == before
    site.expect_no_sessions()


def test_a_reset_is_allowed_by_a_glob_of_the_name(shop: Project, site: Site) -> None:
    site.allow()
    site.own()
    shop.ini("berth_pg_allow_reset = other site_*")
    before = site.execute("SELECT email FROM users", site.name)
    result = shop.run("--berth-pg-url", site.url())
    result.assert_outcomes(passed=4)
    assert site.execute("SELECT email FROM users", site.name) == before


def test_a_reset_is_refused_to_workers_that_share_the_database(shop: Project, site: Site) -> None:
    site.allow()
    site.own()
    shop.ini("berth_pg_allow_reset = site_*")
    shop.plugins = ("xdist", "xdist.looponfail")
    result = shop.run("--berth-pg-url", site.url(), "-n2", "test_committing.py")
    result.assert_outcomes(errors=2)
    result.stdout.fnmatch_lines(["*is not possible in the database*under xdist.*"])
