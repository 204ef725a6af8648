"""Which services there are, and what is told of one that cannot be loaded."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ini_settings import settings
from pytest_berth import manifest
from pytest_berth.api import Backend
from pytest_berth.collection import common_checks
from pytest_berth.config.descriptor import Service
from pytest_berth.errors import MissingExtraError, ServiceError, SettingsError
from pytest_berth.services import discovery

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.services.discovery import Found

ENTRY_POINTS = '[project.entry-points."pytest_berth.services"]\n'
GOOD = """
from pytest_berth.api import Service
SERVICE = Service("{name}", "nowhere:Backend", prefix="{prefix}")
"""


class Installed:
    """A directory that distributions are installed in."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def add(self, distribution: str, module: str, source: str) -> None:
        """Install a distribution with a service."""
        (self.directory / f"{module}.py").write_text(source)
        metadata = self.directory / f"{distribution.replace('-', '_')}-1.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Name: {distribution}\n")
        (metadata / "entry_points.txt").write_text(
            f"[pytest_berth.services]\nit = {module}:SERVICE\n"
        )

    def find(self) -> Found:
        """Look for services anew."""
        manifest.others.cache_clear()
        return discovery.find.__wrapped__()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Installed]:
    """A directory on the path, whose modules are forgotten afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    known = set(sys.modules)
    yield Installed(tmp_path)
    manifest.others.cache_clear()
    for name in set(sys.modules) - known:
        del sys.modules[name]


def test_ours_are_those_of_the_entry_points() -> None:
    text = (Path(__file__).parents[2] / "pyproject.toml").read_text("utf-8")
    section = text.partition(ENTRY_POINTS)[2].partition("\n[")[0]
    assert [line.partition(" = ")[2].strip('"') for line in section.split("\n") if line] == [
        *discovery.OURS
    ]


def test_a_service_of_another_distribution_is_found(installed: Installed) -> None:
    installed.add("berth-cache", "cache_of_mine", GOOD.format(name="cache", prefix="ca"))
    found = installed.find()
    assert found.problems == ()
    (service,) = (each for each in found.services if each.name == "cache")
    assert service.distribution == "berth-cache"
    assert {"ca_server", "ca_url"} <= service.fixtures
    assert {option.name for option in service.options} == {
        f"berth_ca_{name}" for name in ("version", "image", "url", "source", "scope", "port")
    }


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("SERVICE = 7", "is 7, and no pytest_berth.api.Service"),
        (GOOD.format(name="redis", prefix="mine"), "'pytest-berth'"),
        (GOOD.format(name="mine", prefix="pg"), "'pytest-berth'"),
    ],
)
def test_a_broken_service_is_left_out_and_its_distribution_named(
    installed: Installed, source: str, reason: str
) -> None:
    installed.add("berth-broken", "broken_of_mine", source)
    found = installed.find()
    ours = [each.name for each in found.services if not each.distribution]
    assert ours == [name.split(".")[2] for name in discovery.OURS]
    assert "berth-broken" not in {each.distribution for each in found.services}
    (problem,) = found.problems
    assert "'berth-broken'" in problem.why
    assert reason in problem.why


def test_a_backend_without_its_client_names_the_package() -> None:
    service = Service("cache", "missing_client.backend:Backend", packages=("missing_client",))
    with pytest.raises(
        MissingExtraError, match=r"cache needs the package 'missing_client'"
    ) as told:
        service.backend  # noqa: B018
    assert told.value.remedy == "pip install missing_client"


def test_a_backend_that_cannot_be_imported_is_told() -> None:
    service = Service("cache", "pytest_berth.api:Nothing")
    with pytest.raises(ServiceError, match=r"the service 'cache' cannot be loaded\."):
        service.backend  # noqa: B018


def test_the_example_has_at_most_150_lines() -> None:
    example = Path(__file__).parents[2] / "examples/custom_service/berth_memcached"
    assert sum(len(path.read_text("utf-8").splitlines()) for path in example.glob("*.py")) <= 150


@pytest.mark.parametrize(
    "url", ["it://127.0.0.1:4222", "it://u%40:p%2F%3A@127.0.0.1:4222", "it://:p@[::1]:4222"]
)
def test_the_url_of_an_external_server_keeps_its_account(url: str) -> None:
    backend = Backend(Service("it", "nowhere:Backend"))
    server = backend.server_at(url)
    assert backend.url(server) == url
    assert "@" not in server.detail


@pytest.mark.parametrize("url", ["it://host:abc", "it://a:1,b:2", "it://[::1:4222", "other://host"])
def test_a_url_that_cannot_be_used_is_refused_with_the_settings(url: str) -> None:
    with pytest.raises(ValueError, match="use a URL such as it://host:port"):
        Service("it", "nowhere:Backend").url.parse(url)


@pytest.mark.parametrize(("scope", "workers"), [("worker", 2), ("worker", 1), ("run", 2)])
def test_one_port_is_refused_for_the_servers_of_several_workers(scope: str, workers: int) -> None:
    service = Service("it", "nowhere:Backend", scope="worker")
    given = settings(service, berth_it_port="4222", berth_it_scope=scope)
    if (scope, workers) != ("worker", 2):
        common_checks._check_port(service, given, workers)
        return
    with pytest.raises(SettingsError, match="cannot each have a server at the same port") as raised:
        common_checks._check_port(service, given, workers)
    assert "berth_it_port = 4222 (pytest.ini)" in raised.value.why


def test_a_second_scheme_is_kept_and_others_are_refused() -> None:
    service = Service("it", "nowhere:Backend", schemes=["it", "its"])
    backend = Backend(service)
    for url in ("it://h:1", "its://:p@h:1"):
        assert service.url.parse(url) == url
        assert backend.url(backend.server_at(url)) == url
    with pytest.raises(ValueError, match=r"use a URL such as it://host:port \(or its://\)"):
        service.url.parse("http://h:1")


@pytest.mark.parametrize("url", ["it://h:1/place", "it://h:1?tls=1", "it://h:1#part"])
def test_what_the_usual_url_would_drop_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="without path, query or fragment"):
        Service("it", "nowhere:Backend").url.parse(url)
