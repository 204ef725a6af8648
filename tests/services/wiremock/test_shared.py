"""A WireMock that others use, too: it stands at a URL, or all workers share it."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Project

    WriteStub = Callable[[str, Mapping[str, Any]], None]

# Run by a test of another run, whose server is the one of others.
INNER = """
    import os
    import pytest
    from application import call, status
    from pytest_berth import WireMock
    from pytest_berth.api import IsolationError

    @pytest.fixture(scope="session")
    def shop(wiremock_url):
        client = WireMock(wiremock_url)
        client.stub_for("GET", "/shop")
        client.close()

    def test_stubs(shop, wiremock_client):
        assert status("GET", f"{wiremock_client.url}/health") == 201
        assert status("GET", f"{wiremock_client.url}/shop") == 200
        assert status("GET", f"{wiremock_client.url}/theirs") == 404
        retry = {"scenarioName": "retry", "newScenarioState": "tried"}
        again = {**retry, "requiredScenarioState": "Started"}
        wiremock_client.stub_for("GET", "/orders/{id}", status=503, **again)
        wiremock_client.stub_for("ANY", request={"urlPathPattern": "/x.*"}, priority=9)
        wiremock_client.stub_for("PUT", status=204)
        assert status("GET", f"{wiremock_client.url}/orders/7") == 503
        assert status("POST", f"{wiremock_client.url}/xyz", {}) == 200
        assert status("PUT", f"{wiremock_client.url}/any", {}) == 204
        (stub,) = [each for each in wiremock_client.stubs() if "/health" in str(each["request"])]
        wiremock_client.remove_stub(stub["id"])
        urls = [each.url for each in wiremock_client.requests()]
        assert urls == ["/health", "/shop", "/theirs", "/orders/7", "/xyz", "/any"]
        assert [each.url for each in wiremock_client.unmatched()] == ["/theirs"]
        with pytest.raises(AssertionError) as failed:
            wiremock_client.verify("GET", "/thiers")
        assert "urlPath: /thiers expected, was /theirs" in str(failed.value)

    def test_nothing_is_left(shop, wiremock_client):
        assert wiremock_client.requests() == []
        assert status("GET", f"{wiremock_client.url}/health") == 201
        assert status("GET", f"{wiremock_client.url}/shop") == 200
        assert status("GET", f"{wiremock_client.url}/orders/7") == 404
        assert len(wiremock_client.stubs()) == 2

    def test_the_package_wiremock_is_refused(request):
        with pytest.raises(IsolationError, match="cannot be used on a WireMock that others use"):
            request.getfixturevalue("wiremock_config")

    def test_may_die(wiremock_client):
        wiremock_client.stub_for("GET", "/left")
        if "DIE" in os.environ:
            os.kill(os.getpid(), 9)
"""


def test_a_server_given_by_url_is_left_as_it_was(local: Project, write_stub: WriteStub) -> None:
    """Also by a run that is killed."""
    write_stub("health.json", {"request": {"url": "/health"}, "response": {"status": 201}})
    local.write(
        inner=INNER,
        test_outer="""
        import os, subprocess, sys
        from application import status
        from pytest_berth import wait_for

        def run(url, **variables):
            settings = ["-o", f"berth_wiremock_url={url}", "-o", "berth_wiremock_mappings=stubs"]
            command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "inner.py"]
            environment = {**os.environ, "BERTH_WIREMOCK_SOURCE": "external", **variables}
            return subprocess.run([*command, *settings], env=environment).returncode

        def test_it(wiremock_client):
            url = wiremock_client.url
            wiremock_client.stub_for("GET", "/theirs")
            wiremock_client.stub_for("GET", "/health", status=299)
            assert status("GET", f"{url}/theirs") == 200
            before = wiremock_client.stubs()
            assert run(url) == 0
            assert wiremock_client.stubs() == before
            assert [each.url for each in wiremock_client.requests()] == ["/theirs"]
            assert run(url, DIE="1") == -9
            wait_for(lambda: wiremock_client.stubs() == before, 60)
            assert [each.url for each in wiremock_client.requests()] == ["/theirs"]
        """,
    )
    local.run("-p", "no:randomly", "test_outer.py").assert_outcomes(passed=1)


def test_workers_may_share_a_server(local: Project, write_stub: WriteStub) -> None:
    """By ``berth_wiremock_scope = run``; the exported address is the worker's own."""
    write_stub("health.json", {"request": {"url": "/health"}, "response": {"status": 201}})
    local.plugins = ("xdist",)
    local.ini(
        "berth_wiremock_mappings = stubs",
        "berth_wiremock_scope = run",
        "berth_export = PAYMENTS_URL = {wiremock_url}",
    )
    local.write(
        test_it="""
        import os, pathlib
        import pytest
        from application import status
        from pytest_berth import wait_for

        @pytest.mark.parametrize("number", range(2))
        def test_it(wiremock_client, wiremock_server, worker_id, number):
            url = os.environ["PAYMENTS_URL"]
            assert url == wiremock_client.url
            wiremock_client.stub_for("GET", "/who", status=210 + int(worker_id[2:]))
            pathlib.Path(f"{worker_id}-{wiremock_server.port}").touch()
            wait_for(lambda: len(list(pathlib.Path().glob("gw*"))) == 2, 60)
            assert status("GET", f"{url}/who") == 210 + int(worker_id[2:])
            assert status("GET", f"{url}/health") == 201
            assert len(wiremock_client.requests()) == 2
        """
    )
    local.run("-n2", "--dist=each").assert_outcomes(passed=4)
    ports = {path.name.partition("-")[2] for path in local.root.glob("gw*")}
    assert len(ports) == 1


def test_what_is_no_wiremock_is_told(project: Project) -> None:
    """Here it asks for an account, as a proxy does that stands before one."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        answering = Thread(target=server.serve_forever)
        answering.start()
        project.ini(f"berth_wiremock_url = http://user:s3cr3t@127.0.0.1:{server.server_port}")
        project.write(test_it="def test_it(wiremock_client): pass")
        result = project.run()
        server.shutdown()
        answering.join()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*there is no WireMock at http://127.0.0.1:*", "*refuses GET /__admin/mappings*501*"]
    )
    result.stdout.no_fnmatch_line("*s3cr3t*")
