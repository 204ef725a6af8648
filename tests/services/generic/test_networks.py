"""Services that depend on others start after them, and find them by name."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_berth import wait_for

if TYPE_CHECKING:
    from conftest import Project

IMAGE = "axllent/mailpit:v1.20"
# What the container sees of another one: mail that it sends there, or a port of Postgres.
PROGRAM = """
    SEND = '''
    import smtplib, sys
    with smtplib.SMTP(sys.argv[1], 1025, timeout=10) as client:
        client.sendmail("a@b", ["c@d"], "Subject: by name")
    '''
    REACH = '''
    import socket, sys
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=10).close()
    '''
"""
LINES = (
    f"    mailpit = {IMAGE} smtp:1025 http:8025 reset=DELETE,http:/api/v1/messages",
    f"    shop = {IMAGE} http:8025 depends_on=mailpit,pg",
    f"    front = {IMAGE} http:8025 depends_on=shop",
)


@pytest.fixture
def shop(project: Project, require_image: None) -> Project:
    """A project whose application runs in a container, beside a mail server and a database."""
    project.write(program=PROGRAM)
    return project


def networks() -> str:
    """Return the networks of all runs of this engine."""
    command = ["docker", "network", "ls", "--filter", "label=org.pytest-berth.run", "--format"]
    return subprocess.run([*command, "{{.Name}}"], capture_output=True, text=True).stdout


def test_they_are_found_by_name_and_are_isolated_as_well(shop: Project) -> None:
    shop.ini(
        "berth_services =",
        *LINES,
        "berth_pg_source = container",
        "berth_pg_schema = schema.sql",
    )
    (shop.root / "schema.sql").write_text("CREATE TABLE orders (id serial)")
    shop.write(
        test_it="""
            import json
            import pathlib
            from textwrap import dedent
            from urllib.request import urlopen
            import pytest
            import program
            from pytest_berth.run.plugin_state import PLUGIN_STATE

            def run(server, name, *arguments):
                return server.exec("python3", "-c", dedent(getattr(program, name)), *arguments)

            @pytest.mark.parametrize("number", range(2))
            def test_what_the_application_sent_is_gone(shop_server, request, number):
                run(shop_server, "REACH", "pg", "5432")
                run(shop_server, "SEND", "mailpit")
                mailpit = request.getfixturevalue("mailpit_server")
                with urlopen(mailpit.url("http") + "/api/v1/messages") as answer:
                    assert json.load(answer)["total"] == 1
                assert "_pg_isolation" in request.fixturenames
                assert "_mailpit_isolation" in request.fixturenames

            def test_indirectly(front_server, pytestconfig):
                run(front_server, "REACH", "shop", "8025")
                run(front_server, "REACH", "pg", "5432")
                run_id = pytestconfig.stash[PLUGIN_STATE].run.id
                pathlib.Path("run-id").write_text(run_id)

            def test_a_lost_one_is_found_again(shop_server, mailpit_server, pytestconfig):
                server = mailpit_server.server
                pytestconfig.stash[PLUGIN_STATE].manager.source(server).kill(server)

            def test_later(shop_server, mailpit_server):
                run(shop_server, "SEND", "mailpit")
                with urlopen(mailpit_server.url("http") + "/api/v1/messages") as answer:
                    assert json.load(answer)["total"] == 1
        """
    )
    result = shop.run("-vv")
    result.assert_outcomes(passed=5, errors=1)
    result.stdout.fnmatch_lines(
        ["*test_what_the_application_sent*postgres truncation*", "*test_later PASSED*"]
    )
    assert (shop.root / "run-id").read_text() not in networks()


def test_what_cannot_be_depended_on_is_told(shop: Project) -> None:
    shop.ini("berth_services =", *LINES, "berth_pg_source = local")
    shop.write(test_it="def test_it(shop_server): pass")
    result = shop.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*shop depends on postgres, which is not in a container.",
            "*do: *berth_source = container, or berth_pg_source = container",
        ]
    )
    shop.ini("berth_services =", *reversed(LINES))
    result = shop.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*front depends on 'shop', which is no service declared before it.",
            "*declare it in a line before; use one of: *postgres*",
        ]
    )


def test_nothing_of_a_killed_run_is_left(shop: Project) -> None:
    shop.ini("berth_services =", LINES[0], LINES[1].replace(",pg", ""))
    shop.write(
        test_it="""
            import os
            import pathlib
            from pytest_berth.run.plugin_state import PLUGIN_STATE

            def test_it(shop_server, pytestconfig):
                run_id = pytestconfig.stash[PLUGIN_STATE].run.id
                pathlib.Path("run-id").write_text(run_id)
                os.kill(os.getpid(), 9)
        """
    )
    shop.run(forked=False)
    run_id = (shop.root / "run-id").read_text()
    wait_for(lambda: run_id not in networks(), 60)
