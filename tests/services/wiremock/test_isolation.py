"""What belongs to a test, what to the fixtures around it, and what to the project."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pytest_berth.services.wiremock.service import WIREMOCK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Project
    from pytest_berth.api import Service

    WriteStub = Callable[[str, Mapping[str, Any]], None]

# Each test that changes something is followed by one that looks.
LOOK = """
    import pytest
    from application import call, status

    def admin(client, method, path, body=None):
        assert status(method, f"{client.url}/__admin{path}", body) < 300

    def look(client):
        assert call("GET", f"{client.url}/health") == (200, "well")
        assert call("GET", f"{client.url}/one")[0] == 201
        assert call("GET", f"{client.url}/two")[0] == 202
        assert status("GET", f"{client.url}/new") == 404
        assert len(client.stubs()) == 3
        assert len(client.requests()) == 4
"""


def _write_stubs(write_stub: WriteStub) -> None:
    write_stub(
        "health.json",
        {"request": {"url": "/health"}, "response": {"status": 200, "bodyFileName": "health.txt"}},
    )
    several = [
        {"request": {"method": "GET", "url": f"/{name}"}, "response": {"status": status}}
        for name, status in (("one", 201), ("two", 202))
    ]
    write_stub("several.json", {"mappings": several})


def test_the_stubs_of_the_project_are_there_for_each_test_whatever_the_last_one_did(
    local: Project, write_stub: WriteStub
) -> None:
    _write_stubs(write_stub)
    (local.root / "bodies").mkdir()
    (local.root / "bodies" / "health.txt").write_text("well", encoding="utf-8")
    local.ini("berth_wiremock_mappings = stubs", "berth_wiremock_files = bodies")
    local.write(
        look=LOOK,
        test_it="""
        from look import *

        @pytest.fixture(autouse=True)
        def _looked(wiremock_client):
            look(wiremock_client)
            admin(wiremock_client, "DELETE", "/requests")

        def test_first(wiremock_client):
            assert wiremock_client.requests() == []

        def test_adds(wiremock_client):
            wiremock_client.stub_for("GET", "/new")
            wiremock_client.stub_for("GET", "/one", status=500)
            assert status("GET", f"{wiremock_client.url}/one") == 500

        def test_adds_persistent_ones(wiremock_client):
            wiremock_client.stub_for("GET", "/new", persistent=True)

        def test_reads_the_files_again(wiremock_client):
            admin(wiremock_client, "POST", "/mappings/reset")
            assert status("GET", f"{wiremock_client.url}/one") == 201
            assert len(wiremock_client.stubs()) == 3

        def test_edits(wiremock_client):
            for stub in wiremock_client.stubs():
                changed = {**stub, "response": {"status": 503}}
                admin(wiremock_client, "PUT", f"/mappings/{stub['id']}", changed)
            assert status("GET", f"{wiremock_client.url}/one") == 503

        def test_deletes_one(wiremock_client):
            wiremock_client.remove_stub(wiremock_client.stubs()[-1]["id"])

        def test_deletes_all(wiremock_client):
            admin(wiremock_client, "DELETE", "/mappings")
            assert wiremock_client.stubs() == []

        def test_reads_the_files_again_after_all_were_deleted(wiremock_client):
            admin(wiremock_client, "POST", "/mappings/reset")
            assert len(wiremock_client.stubs()) == 3

        def test_saves(wiremock_client):
            wiremock_client.stub_for("GET", "/new")
            admin(wiremock_client, "POST", "/mappings/save")

        def test_reads_the_files_again_after_all_were_saved(wiremock_client):
            admin(wiremock_client, "POST", "/mappings/reset")
            assert len(wiremock_client.stubs()) == 3

        def test_delays_everything(wiremock_client):
            admin(wiremock_client, "POST", "/settings", {"fixedDelay": 30_000})

        def test_adds_a_file(wiremock_client):
            admin(wiremock_client, "PUT", "/files/more/new.txt", "new")
            wiremock_client.stub_for("GET", "/new", response={"bodyFileName": "more/new.txt"})

        def test_no_file_is_left(wiremock_client):
            files = call("GET", f"{wiremock_client.url}/__admin/files")[1]
            assert "health.txt" in files
            assert "new.txt" not in files
        """,
    )
    local.run("-p", "no:randomly").assert_outcomes(passed=13)


def test_a_container_gets_the_stubs_of_the_project_too(
    calling: Project, write_stub: WriteStub, require_service: Callable[[Service, str], None]
) -> None:
    require_service(WIREMOCK, "container")
    _write_stubs(write_stub)
    (calling.root / "bodies").mkdir()
    (calling.root / "bodies" / "health.txt").write_text("{{request.path}}", encoding="utf-8")
    calling.ini(
        "berth_wiremock_source = container",
        "berth_wiremock_mappings = stubs",
        "berth_wiremock_files = bodies",
        "berth_wiremock_settings = global-response-templating",
    )
    calling.write(
        test_it="""
        import pytest
        from application import call, status

        @pytest.mark.parametrize("number", range(2))
        def test_it(wiremock_client, number):
            admin = f"{wiremock_client.url}/__admin"
            assert call("GET", f"{wiremock_client.url}/health") == (200, "/health")
            assert status("DELETE", f"{admin}/mappings") == 200
            assert status("GET", f"{wiremock_client.url}/health") == 404

        def test_the_files_are_back(wiremock_client):
            assert status("POST", f"{wiremock_client.url}/__admin/mappings/reset", {}) == 200
            assert call("GET", f"{wiremock_client.url}/one")[0] == 201
        """,
    )
    calling.run("-p", "no:randomly").assert_outcomes(passed=3)


def test_what_fixtures_of_a_wider_scope_stub_stays_and_is_put_back(local: Project) -> None:
    local.conftest(
        """
        import pytest
        from application import status
        from pytest_berth import WireMock

        @pytest.fixture(scope="session")
        def shop(wiremock_url):
            client = WireMock(wiremock_url)
            retry = {"scenarioName": "retry", "newScenarioState": "tried"}
            client.stub_for("GET", "/shop", status=503, requiredScenarioState="Started", **retry)
            client.stub_for("GET", "/shop", requiredScenarioState="tried", **retry)
            assert status("GET", f"{wiremock_url}/shop") == 503
            client.close()

        @pytest.fixture(scope="module")
        def bank(wiremock_url):
            client = WireMock(wiremock_url)
            stub = client.stub_for("GET", "/bank")
            yield
            client.remove_stub(stub)
            client.close()

        @pytest.fixture(scope="class")
        def open_bank(bank, wiremock_url):
            client = WireMock(wiremock_url)
            client.stub_for("GET", "/bank", status=201)
            client.close()
        """
    )
    local.write(
        test_a="""
        import pytest
        from application import status

        def answers(client):
            return [status("GET", f"{client.url}/{each}") for each in ("shop", "bank")]

        def test_none(wiremock_client):
            assert answers(wiremock_client) == [404, 404]

        def test_state_of_a_scenario(shop, wiremock_client):
            # The fixture's request is in no test's journal; the scenario is as it left it.
            assert wiremock_client.requests() == []
            assert status("GET", f"{wiremock_client.url}/shop") == 200
            assert len(wiremock_client.requests()) == 1

        def test_scenario_is_moved(shop, wiremock_client):
            admin = f"{wiremock_client.url}/__admin"
            assert status("PUT", f"{admin}/scenarios/retry/state", {"state": "Started"}) == 200
            assert status("GET", f"{wiremock_client.url}/shop") == 503
            assert status("POST", f"{admin}/scenarios/reset", {}) == 200

        def test_scenario_is_back(shop, wiremock_client):
            assert status("GET", f"{wiremock_client.url}/shop") == 200

        def test_bank(bank, wiremock_client):
            assert answers(wiremock_client) == [200, 200]
            assert status("DELETE", f"{wiremock_client.url}/__admin/mappings") == 200
            assert answers(wiremock_client) == [404, 404]

        class TestClass:
            def test_open(self, open_bank, wiremock_client):
                assert answers(wiremock_client) == [200, 201]

            def test_open_again(self, open_bank, wiremock_client):
                assert answers(wiremock_client) == [200, 201]

        def test_after_the_class(bank, wiremock_client):
            assert answers(wiremock_client) == [200, 200]
        """,
        test_b="""
        from application import status

        def test_after_the_module(wiremock_client):
            assert status("GET", f"{wiremock_client.url}/bank") == 404
            assert status("GET", f"{wiremock_client.url}/shop") == 200

        def test_late(request, wiremock_client):
            wiremock_client.stub_for("GET", "/own")
            request.getfixturevalue("bank")
            assert status("GET", f"{wiremock_client.url}/own") == 200
            assert status("GET", f"{wiremock_client.url}/bank") == 200

        def test_after_late(bank, wiremock_client):
            assert status("GET", f"{wiremock_client.url}/own") == 404
            assert status("GET", f"{wiremock_client.url}/bank") == 200
        """,
    )
    local.run("-p", "no:randomly").assert_outcomes(passed=11)


def test_a_killed_server_is_replaced_with_all_stubs_of_the_project_and_of_fixtures(
    local: Project, write_stub: WriteStub
) -> None:
    write_stub("health.json", {"request": {"url": "/health"}, "response": {"status": 200}})
    local.ini("berth_wiremock_mappings = stubs")
    local.write(
        test_it="""
        import pytest
        from application import status
        from pytest_berth import WireMock
        from pytest_berth.run.plugin_state import PLUGIN_STATE

        @pytest.fixture(scope="session")
        def shop(wiremock_url):
            client = WireMock(wiremock_url)
            client.stub_for("GET", "/shop")
            client.close()

        def test_kills(shop, wiremock_client, wiremock_server, pytestconfig):
            wiremock_client.stub_for("GET", "/own")
            server = wiremock_server.server
            pytestconfig.stash[PLUGIN_STATE].manager.source(server).kill(server)

        def test_goes_on(shop, wiremock_client):
            url = wiremock_client.url
            found = [status("GET", f"{url}/{each}") for each in ("shop", "health", "own")]
            assert found == [200, 200, 404]

        def test_deletes_what_tells_berth_s_server(wiremock_client):
            files = f"{wiremock_client.url}/__admin/files"
            from urllib.request import urlopen
            import json
            (token,) = json.load(urlopen(files))
            assert status("DELETE", f"{files}/{token}") == 200
            wiremock_client.stub_for("GET", "/own")
            # berth's connection is opened anew, as where it has waited for too long.
            from pytest_berth.services.wiremock import admin
            admin._Connection.is_open = lambda self: False

        def test_gets_another_one(wiremock_client):
            assert status("GET", f"{wiremock_client.url}/own") == 404
        """
    )
    result = local.run("-p", "no:randomly", "-v")
    result.stdout.fnmatch_lines(["*::test_goes_on PASSED*", "*::test_gets_another_one PASSED*"])
    result.stdout.fnmatch_lines(["*is not the one that berth has started there.*"])
