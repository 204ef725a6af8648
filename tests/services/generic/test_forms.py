"""When a service of any image is ready, and how it is emptied: each form in real containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Project

IMAGE = "axllent/mailpit:v1.20 http:8025"


@pytest.fixture
def mail(project: Project, require_image: None) -> Project:
    """A project whose services are mail servers, and who has a function and a file for them."""
    project.write(
        resets="""
            called = []

            def note(server):
                called.append(server.name)
        """
    )
    (project.root / "note.txt").write_text("a note of the project\n")
    return project


def test_each_form_of_ready_and_of_reset(mail: Project) -> None:
    mail.ini(
        "berth_services =",
        f"    by_port = {IMAGE} ready=http reset=resets:note",
        f"    by_status = {IMAGE} ready=404,http:/nothing reset=exec:'rm -f /written'",
        f"    by_log = {IMAGE} ready='log:accessible via http://\\S+:8025' reset=restart",
        f"    by_command = {IMAGE} ready='exec:/mailpit readyz' file./note=note.txt scope=run",
        f"    other = {IMAGE} command=readyz ready=http",
        "berth_start_timeout = 60",
    )
    mail.write(
        test_it="""
            import pytest
            import resets

            def test_a_function(by_port_server):
                assert resets.called.pop() == "by_port"

            def test_called_after_each(by_port_server):
                assert resets.called == ["by_port"]

            def test_a_command(by_status_server):
                by_status_server.exec("touch", "/written")

            def test_a_command_again(by_status_server):
                written = "test -e /written || printf gone"
                assert by_status_server.exec("sh", "-c", written) == "gone"

            def start(server):
                return server.exec("cat", "/proc/1/stat").split()[21]

            ports, starts = [], []

            @pytest.mark.parametrize("number", range(3))
            def test_restart(by_log_server, number):
                ports.append(by_log_server.port("http"))
                starts.append(start(by_log_server))

            def test_restarted_each_time():
                assert len(set(ports)) == 1
                assert len(set(starts)) == 3

            @pytest.mark.parametrize("number", range(2))
            def test_nothing(by_command_server, number):
                assert by_command_server.exec("cat", "/note") == "a note of the project\\n"
                starts.append(start(by_command_server))

            def test_not_started_anew():
                assert starts[-1] == starts[-2]

            @pytest.mark.berth_by_command(scope="test")
            def test_its_own(by_command_server):
                assert start(by_command_server) != starts[-1]

            def test_ended_at_once(other_server):
                pass
        """
    )
    result = mail.run("-vv")
    result.assert_outcomes(passed=12, errors=1)
    result.stdout.fnmatch_lines(
        [
            "*test_nothing*not isolated: berth_services (pytest.ini) gives by_command no reset=*",
            "*test_its_own*own server: asked for by scope*",
            "*other ended while it started: the container exited with status 1.",
        ]
    )


def test_a_reset_that_cannot_be_called_ends_the_run(mail: Project) -> None:
    mail.ini(
        f"berth_services = box = {IMAGE} reset=resets:nothing",
        "berth_export = A = {box_port:tcp}",
    )
    mail.write(test_it="def test_it(box_server): pass")
    result = mail.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*box has no port 'tcp'.", "*use one of: http"])
    mail.ini(f"berth_services = box = {IMAGE} reset=resets:nothing")
    result = mail.run()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*the function resets:nothing of a reset cannot be called.", "*why: AttributeError: *"]
    )


def test_somebody_restarts_the_container_and_its_port_is_anothers(mail: Project) -> None:
    mail.ini(f"berth_services = box = {IMAGE} reset=DELETE,http:/api/v1/messages")
    mail.write(
        test_it="""
            ports = []

            def test_restarted_behind_berth(box_server):
                ports.append(int(box_server.port))
                box_server.container().restart()

            def test_later(box_server):
                assert box_server.exec("true") == ""
        """
    )
    result = mail.run("-v")
    moved = "*the container of box-main is not reached at port * any more."
    result.stdout.fnmatch_lines(["*::test_later PASSED*", moved])
    result.assert_outcomes(passed=2, errors=1)
