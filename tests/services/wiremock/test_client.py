"""What tests stub, find and verify; and what they are told when they fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conftest import Project

    WriteStub = Callable[[str, Mapping[str, Any]], None]


def test_a_test_stubs_a_service_and_finds_what_was_sent_to_it(local: Project) -> None:
    local.ini("berth_export = PAYMENTS_URL = {wiremock_url}")
    local.write(
        test_it="""
        import os
        import threading
        import pytest
        from application import call, status
        from pytest_berth import WireMock
        from pytest_berth.api import BerthError

        PAYMENTS = os.environ["PAYMENTS_URL"]

        def test_json(wiremock_client: WireMock):
            declined = {"error": "card_declined"}
            wiremock_client.stub_for("POST", "/charges", status=402, json=declined)
            assert call("POST", f"{PAYMENTS}/charges", {"amount": 7}) == (
                402, '{"error":"card_declined"}'
            )
            (charge,) = wiremock_client.verify("POST", "/charges", count=1, json={"amount": 7})
            assert charge.json() == {"amount": 7}
            assert (charge.method, charge.url, charge.path) == ("POST", "/charges", "/charges")
            assert charge.headers["content-type"] == "application/json"
            assert charge.text == '{"amount": 7}'

        def test_patterns(wiremock_client):
            wiremock_client.stub_for("GET", "/orders/{id}", body="an order")
            wiremock_client.stub_for("GET", "/orders?page=2", body="page two")
            wiremock_client.stub_for("ANY", request={"urlPathPattern": "/x.*"}, priority=9)
            wiremock_client.stub_for("PUT", headers={"X-Any": "1"}, status=204)
            assert call("GET", f"{PAYMENTS}/orders/7?x=1")[1] == "an order"
            assert call("GET", f"{PAYMENTS}/orders?page=2")[1] == "page two"
            assert status("GET", f"{PAYMENTS}/orders?page=3") == 404
            assert status("PATCH", f"{PAYMENTS}/xyz", {}) == 200
            assert status("PUT", f"{PAYMENTS}/whatever", {}) == 204
            assert [each.url for each in wiremock_client.unmatched()] == ["/orders?page=3"]
            urls = [each.url for each in wiremock_client.requests("GET")]
            assert urls == ["/orders/7?x=1", "/orders?page=2", "/orders?page=3"]
            assert len(wiremock_client.requests("GET", "/orders/{id}")) == 1
            wiremock_client.verify("DELETE", count=0)

        def test_a_stub_as_the_documentation_has_it(wiremock_client):
            stub = wiremock_client.add_stub({
                "request": {"url": "/slow"},
                "response": {"status": 200, "fixedDelayMilliseconds": 1},
            })
            assert status("GET", f"{PAYMENTS}/slow") == 200
            wiremock_client.remove_stub(stub)
            assert status("GET", f"{PAYMENTS}/slow") == 404

        def test_waits_for_what_is_sent_later(wiremock_client):
            wiremock_client.stub_for("POST", "/later")
            sender = threading.Timer(0.1, status, ("POST", f"{PAYMENTS}/later", {}))
            sender.start()
            wiremock_client.verify("POST", "/later", within=20)
            sender.join()

        def test_what_wiremock_does_not_understand(wiremock_client):
            with pytest.raises(BerthError, match="refuses POST /__admin/mappings") as error:
                wiremock_client.stub_for("GET", request={"methd": "GET"})
            assert "/request/methd" in error.value.why

        def test_a_path(wiremock_client):
            with pytest.raises(ValueError, match="begins with /"):
                wiremock_client.stub_for("GET", "charges")

        def test_the_package_wiremock(wiremock_config, wiremock_client):
            client = pytest.importorskip("wiremock.client")
            mapping = client.Mapping(
                request=client.MappingRequest(method="GET", url="/sdk"),
                response=client.MappingResponse(status=418),
            )
            client.Mappings.create_mapping(mapping)
            assert status("GET", f"{PAYMENTS}/sdk") == 418
            mapping.request.url = "/other"
            wiremock_client.add_stub(mapping)
            assert status("GET", f"{PAYMENTS}/other") == 418
            assert wiremock_config.base_url == f"{PAYMENTS}/__admin"

        def test_the_package_is_set_back(wiremock_client):
            constants = pytest.importorskip("wiremock.constants")
            assert constants.Config.base_url == constants.DEFAULT_BASE_URL
        """,
    )
    local.run("-p", "no:randomly").assert_outcomes(passed=8)


def test_a_failing_test_tells_the_nearest_misses(local: Project, write_stub: WriteStub) -> None:
    write_stub("health.json", {"request": {"url": "/health"}, "response": {"status": 200}})
    local.ini("berth_wiremock_mappings = stubs")
    local.write(
        test_it="""
        from application import status

        def test_not_sent(wiremock_client):
            wiremock_client.stub_for("POST", "/charges", status=402, json={"error": "declined"})
            charge = {"amount": 7, "password": "tell-" + "nobody"}
            status("POST", f"{wiremock_client.url}/charge", charge)
            wiremock_client.verify("POST", "/charges", json={"amount": 8}, headers={"X-Key": "1"})

        def test_sent_too_often(wiremock_client):
            for _ in range(2):
                status("GET", f"{wiremock_client.url}/health")
            wiremock_client.verify("GET", "/health", count=1)

        def test_nothing_sent(wiremock_client):
            wiremock_client.verify("GET", "/health")

        def test_changes(wiremock_client):
            (stub,) = wiremock_client.stubs()
            wiremock_client.remove_stub(stub["id"])
            assert status("GET", f"{wiremock_client.url}/health") == 200
        """,
    )
    result = local.run("-p", "no:randomly")
    result.assert_outcomes(failed=4)
    result.stdout.fnmatch_lines(
        [
            "E * expected a request POST /charges with header X-Key '1', body {'amount': 8},"
            " found none of 1 received.",
            "E *   near: POST /charge *amount*7*",
            "E *     urlPath: /charges expected, was /charge",
            "E *     header X-Key: '1' expected, is missing",
            "E *     body: amount: 8 expected, was 7",
            "E *     body: password was not expected, was ***",
            "no stub answers POST /charge *; the nearest one is POST /charges:",
            "  urlPath: /charges expected, was /charge",
            "+ stub POST /charges: 402 {'error': 'declined'}",
            "received POST /charge *",
            "curl http://127.0.0.1:*/__admin/requests",
            "E * expected 1 request GET /health, found 2 of 2 received.",
            "E *   GET /health",
            "E * expected a request GET /health, found none of 0 received.",
            "no stub answers GET /health: there is none",
            "- stub ANY /health",
        ]
    )
    result.stdout.no_fnmatch_line("*tell-nobody*")


def test_stubs_of_the_project_that_cannot_be_read_are_told_before_the_first_test(
    local: Project, write_stub: WriteStub
) -> None:
    local.write(test_it="def test_it(wiremock_client): pass")
    local.ini("berth_wiremock_mappings = stubs")
    result = local.run()
    assert result.ret == 4
    result.stderr.fnmatch_lines(["*there is no directory stubs.*", "*berth_wiremock_mappings*"])
    (local.root / "stubs").mkdir()
    (local.root / "stubs" / "broken.json").write_text("{", encoding="utf-8")
    local.run().stderr.fnmatch_lines(
        ["*the stubs in broken.json cannot be read.*", "*it is not JSON: *line 1 column 2*"]
    )
    write_stub("broken.json", {"mappings": [{"url": "/"}]})
    local.run().stderr.fnmatch_lines(["*it has neither request nor response*"])


def test_a_start_that_wiremock_refuses_is_told(local: Project) -> None:
    local.ini("berth_wiremock_settings = no-such-option")
    local.write(test_it="def test_it(wiremock_client): pass")
    result = local.run()
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*it may be a line of berth_wiremock_settings = no-such-option*"])
