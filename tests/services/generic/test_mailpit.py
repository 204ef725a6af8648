"""A service of any image, from a line of the settings: a mail server that the suite knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

LINE = (
    "mailpit = axllent/mailpit:v1.20 smtp:1025 http:8025 ready=http:/readyz"
    " reset=DELETE,http:/api/v1/messages env.MP_MAX_MESSAGES=2"
)
MAIL = """
    import json, smtplib, urllib.request

    def send(host, port, subject):
        with smtplib.SMTP(host, port, timeout=10) as client:
            client.sendmail("a@example.com", ["b@example.com"], f"Subject: {subject}\\n\\nHello")

    def subjects(url):
        with urllib.request.urlopen(f"{url}/api/v1/messages", timeout=10) as answer:
            return [each["Subject"] for each in json.load(answer)["messages"]]
"""


@pytest.fixture
def mail(project: Project, require_image: None) -> Project:
    """A project with a mail server, and an application that sends mail."""
    project.write(mail=MAIL)
    return project


def test_its_fixture_tells_where_it_is_and_runs_commands(mail: Project) -> None:
    mail.ini(
        f"berth_services = {LINE}",
        "berth_export =",
        "    SMTP = {mailpit_host}:{mailpit_port:smtp}",
        "    FIRST = {mailpit_port} {mailpit_url}",
        "    MAILS = {mailpit_url:http}",
    )
    mail.write(
        test_it="""
            import os
            import subprocess
            import pytest
            from mail import send, subjects
            from pytest_berth.api import SettingsError

            EARLY = {name: os.environ[name] for name in ("SMTP", "FIRST", "MAILS")}

            def test_addresses(mailpit_server, mailpit_url):
                host, find = "127.0.0.1", mailpit_server.port
                smtp, http = find("smtp"), find("http")
                assert EARLY["SMTP"] == f"{host}:{smtp}"
                assert EARLY["FIRST"] == f"{smtp} smtp://{host}:{smtp}"
                assert EARLY["MAILS"] == mailpit_server.url("http") == f"http://{host}:{http}"
                assert mailpit_url == mailpit_server.url() == f"smtp://{host}:{smtp}"
                assert mailpit_server.url("http", "ws") == f"ws://{host}:{http}"
                assert mailpit_server.port == mailpit_server.port() == smtp
                with pytest.raises(SettingsError, match="mailpit has no port 'htpt'"):
                    mailpit_server.port("htpt")

            def test_no_mail_of_another_test(mailpit_server):
                url = mailpit_server.url("http")
                assert subjects(url) == []
                for subject in ("first", "second", "third"):
                    send(mailpit_server.host, mailpit_server.port("smtp"), subject)
                assert subjects(url) == ["third", "second"]

            def test_again(mailpit_server):
                assert subjects(mailpit_server.url("http")) == []
                assert "accessible" in mailpit_server.log()
                assert "v1.20" in mailpit_server.exec("/mailpit", "version")
                assert mailpit_server.version == "v1.20"
                with pytest.raises(subprocess.CalledProcessError):
                    mailpit_server.exec("false")
        """
    )
    result = mail.run("-vv")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["*reset: DELETE,http:/api/v1/messages after each test*"])


def test_each_worker_has_a_server_as_a_reset_is_for_all_of_it(mail: Project) -> None:
    mail.plugins = ("xdist", "xdist.looponfail")
    mail.ini(f"berth_services = {LINE}")
    mail.write(
        test_it="""
            import pytest
            from mail import send, subjects

            @pytest.mark.parametrize("number", range(8))
            def test_it(mailpit_server, number, worker_id):
                url = mailpit_server.url("http")
                assert subjects(url) == []
                send(mailpit_server.host, mailpit_server.port("smtp"), worker_id)
                assert subjects(url) == [worker_id]
        """
    )
    mail.run("-n2").assert_outcomes(passed=8)
    mail.ini(f"berth_services = {LINE} scope=run")
    result = mail.run("-n2")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        [
            "*mailpit would be emptied under other workers' tests.",
            "*why: berth_mailpit_scope = run (default), 2 workers*",
            "*do: *berth_mailpit_scope = worker gives each worker a server of its own",
        ]
    )
    mail.run("-n1").assert_outcomes(passed=8)


def test_a_reset_that_fails_is_told_and_no_test_sees_what_it_left(mail: Project) -> None:
    mail.ini(f"berth_services = {LINE.replace('messages ', 'massages ')}")
    mail.write(
        test_it="""
            from mail import send, subjects

            def test_it(mailpit_server, mailpit_url):
                assert False, "not reached"
        """
    )
    result = mail.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        [
            "*the reset DELETE,http:/api/v1/massages has failed.",
            "*why: it was answered with status 404: not found",
            "*do: *correct the line's reset=*",
        ]
    )


def test_servers_outside_pytest_know_it(mail: Project) -> None:
    mail.ini(f"berth_services = {LINE}")
    mail.write(
        outside="""
            import pytest_berth
            from mail import send, subjects

            with pytest_berth.servers("mailpit") as servers:
                server = servers["mailpit"].server
                with servers.isolated():
                    send(server.host, server.port("smtp"), "outside")
                    print(subjects(server.url("http")))
                print(subjects(server.url("http")))
        """
    )
    result = mail.pytester.runpython("outside.py")
    assert result.outlines == ["['outside']", "[]"]
