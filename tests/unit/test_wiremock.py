"""WireMock without a server: options, the project's stubs, paths of shared servers, messages."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.config.options import OPTIONS, Setting, Settings
from pytest_berth.errors import SettingsError
from pytest_berth.services.wiremock import admin, launch, project_stubs
from pytest_berth.services.wiremock import options as ini
from pytest_berth.services.wiremock.received_request import differences, received
from pytest_berth.services.wiremock.restore import Baseline
from pytest_berth.services.wiremock.service import WIREMOCK
from pytest_berth.services.wiremock.shared_stubs import Place

if TYPE_CHECKING:
    from pathlib import Path

NAMESPACE = "berth_k3x9_gw0"


def _settings(root: Path, **given: object) -> Settings:
    values = {
        option.name: Setting(given.get(option.name, option.default), "pytest.ini")
        for option in (*OPTIONS, *WIREMOCK.options)
    }
    return Settings(root, values)


def test_lines_of_the_settings_are_arguments() -> None:
    given = ini.SETTINGS.parse(["global-response-templating", "container-threads = 20"])
    assert ini.arguments(given) == ["--global-response-templating", "--container-threads", "20"]


@pytest.mark.parametrize("line", ["port = 7", "root-dir=/", "no-request-journal", "--verbose", "="])
def test_what_berth_settles_and_what_is_no_option_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"leave .* out|use lines such as"):
        ini.SETTINGS.parse([line])


@pytest.mark.parametrize(
    ("url", "port"),
    [("http://mock", 80), ("https://mock", 443), ("https://u:p@[::1]", 443), ("https://m:7", 7)],
)
def test_the_port_of_a_url_without_one_is_the_scheme_s(url: str, port: int) -> None:
    server = WIREMOCK.backend.server_at(url)
    assert server.port == port
    assert WIREMOCK.backend.url(server).rpartition(":")[2] == str(port)


def test_the_pinned_jar_is_the_default_version() -> None:
    assert set(launch.pins()) == {ini.VERSION.default}


def test_each_stub_of_the_project_is_a_file_with_an_id_that_stays(tmp_path: Path) -> None:
    directory = tmp_path / "stubs"
    (directory / "more").mkdir(parents=True)
    one = {"request": {"url": "/one"}, "response": {"status": 200}}
    own = {**one, "id": "11111111-1111-1111-1111-111111111111"}
    (directory / "a.json").write_text(json.dumps({"mappings": [one, own]}))
    (directory / "more" / "b.json").write_text(json.dumps(one))
    (directory / "read.me").write_text("no stub")
    settings = _settings(tmp_path, berth_wiremock_mappings="stubs")
    found = project_stubs.stubs(settings)
    assert [each["request"]["url"] for each in found] == ["/one"] * 3
    assert found[1]["id"] == own["id"]
    assert len({each["id"] for each in found}) == 3
    assert all(each["persistent"] for each in found)
    project_stubs._read.cache_clear()
    assert project_stubs.stubs(settings) == found
    names = list(project_stubs.root_files(settings))
    assert [name.partition("-")[0] for name in names] == [f"mappings/000{n}" for n in range(3)]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("// comment\n{}", "it is not JSON"),
        ("[]", "it is not a JSON object"),
        ('{"mappings": {}}', "it is not a JSON object"),
        ('{"mappings": [1]}', "neither request nor response"),
    ],
)
def test_a_file_that_holds_something_else_is_told(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "wrong.json").write_text(content)
    with pytest.raises(SettingsError, match=r"the stubs in wrong\.json cannot be read") as error:
        project_stubs.stubs(_settings(tmp_path, berth_wiremock_mappings="."))
    assert why in error.value.why


@pytest.mark.parametrize(
    ("request_", "own"),
    [
        ({"url": "/x?a=1"}, {"url": f"/{NAMESPACE}/x?a=1"}),
        ({"urlPath": "/x"}, {"urlPath": f"/{NAMESPACE}/x"}),
        ({"urlPathTemplate": "/x/{id}"}, {"urlPathTemplate": f"/{NAMESPACE}/x/{{id}}"}),
        ({"urlPattern": "/a|/b"}, {"urlPattern": f"/{NAMESPACE}(?:/a|/b)"}),
        ({"urlPathPattern": "/a.*"}, {"urlPathPattern": f"/{NAMESPACE}(?:/a.*)"}),
        ({"method": "PUT"}, {"method": "PUT", "urlPathPattern": f"/{NAMESPACE}(?:/.*)?"}),
    ],
)
def test_a_shared_server_gets_stubs_below_the_workers_path(
    request_: dict[str, Any], own: dict[str, Any]
) -> None:
    assert Place(NAMESPACE).own_request(request_) == own
    assert Place().own_request(request_) == request_


def test_a_stub_on_a_shared_server_has_another_id_scenario_and_mark() -> None:
    stub = {
        "id": "11111111-1111-1111-1111-111111111111",
        "metadata": {"team": "orders"},
        "persistent": True,
        "scenarioName": "retry",
    }
    place = Place(NAMESPACE)
    own = place.own_stub(stub)
    assert own["id"] == own["uuid"] != stub["id"]
    assert own["metadata"] == {"team": "orders", "berth": NAMESPACE}
    assert own["persistent"] is False
    assert own["scenarioName"] == f"{NAMESPACE} retry"
    assert place.owns(own)
    assert not place.owns(stub)
    assert not Place("berth_k3x9_gw1").owns(own)


def _received(**given: object) -> Any:
    told = {"method": "POST", "url": "/charge?x=1", "headers": {"X-Key": ["1", "2"]}, **given}
    return received(told, Place())


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ({"method": "ANY", "urlPath": "/charge"}, []),
        ({"method": "GET"}, ["method: GET expected, was POST"]),
        ({"url": "/charge"}, ["url: /charge expected, was /charge?x=1"]),
        ({"headers": {"x-key": {"equalTo": "1"}}}, []),
        ({"headers": {"X-Key": {"equalTo": "3"}}}, ["header X-Key: '3' expected, was '1'"]),
        ({"bodyPatterns": [{"equalToJson": '{"a": 1}'}]}, []),
        ({"bodyPatterns": [{"equalToJson": {"a": 2}}]}, ["body: a: 2 expected, was 1"]),
        ({"bodyPatterns": [{"equalToJson": [1]}]}, ["body: [1] expected, was {'a': 1}"]),
        (
            {"bodyPatterns": [{"equalToJson": {"token": "s3cret"}, "ignoreExtraElements": True}]},
            ["body: token is missing, *** was expected"],
        ),
        (
            {"bodyPatterns": [{"contains": "b"}]},
            ["body: {'contains': 'b'} expected, was '{\"a\": 1}'"],
        ),
    ],
)
def test_in_what_a_request_differs(pattern: dict[str, Any], told: list[str]) -> None:
    assert differences(pattern, _received(bodyAsBase64="eyJhIjogMX0="), Place()) == told


def test_a_body_that_is_no_json_is_told() -> None:
    pattern = {"bodyPatterns": [{"equalToJson": "{}"}]}
    sent = _received(bodyAsBase64="eA==")
    assert differences(pattern, sent, Place()) == ["body: JSON expected, was 'x'"]


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP", (200, b"ok", False)),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nok\r\n1;x\r\n!\r\n0\r\n\r\n",
            (200, b"ok!", False),
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", (204, b"", False)),
        (b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\nrest", (404, b"rest", True)),
    ],
)
def test_answers_of_the_admin_api_are_read(sent: bytes, answer: tuple[int, bytes, bool]) -> None:
    assert admin._read_answer(io.BufferedReader(io.BytesIO(sent))) == answer  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "sent", [b"", b"SSH-2.0\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"]
)
def test_an_answer_that_is_none_is_a_failed_connection(sent: bytes) -> None:
    with pytest.raises(ConnectionResetError):
        admin._read_answer(io.BufferedReader(io.BytesIO(sent)))  # type: ignore[arg-type]


def test_a_late_fixtures_stubs_are_newer_than_those_that_were_there() -> None:
    def of(*names: str) -> Baseline:
        return Baseline({name: {"id": name} for name in names})

    assert list(
        of("project").rebased(of("project", "test"), of("project", "test", "late")).stubs
    ) == [
        "project",
        "late",
    ]
    assert of("project", "gone").rebased(of("project", "gone"), of("project")).stubs == {
        "project": {"id": "project"}
    }
