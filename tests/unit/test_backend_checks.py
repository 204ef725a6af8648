"""Slips of a service's author are told with the service, its distribution, the method."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from ini_settings import settings
from pytest_berth.api import Backend, Container, LocalProcess, Namespace, NotReadyError, Service
from pytest_berth.config.options import text
from pytest_berth.errors import MissingExtraError, ServiceError
from pytest_berth.run import plugin_state

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_berth.api import Credentials, LocalRequest, Option, Server, Settings, Worker

GIVEN: Any = None


class Cache(Namespace):
    """Nothing is wrong with it."""

    url = "it://127.0.0.1:1"

    def reset(self) -> None:
        """Empty it."""


class Good(Backend):
    """Nothing is wrong with it."""

    def container(self, settings: Settings, account: Credentials) -> Container:
        """Describe the container."""
        return Container("it", 1)

    def probe(self, server: Server) -> str:
        """Return the version."""
        return "1"

    @contextmanager
    def open(self, server: Server, worker: Worker) -> Iterator[Namespace]:
        """Open it."""
        yield Cache()

    def local(self, settings: Settings, request: LocalRequest) -> LocalProcess:
        """Describe the process."""
        return LocalProcess("1", "it", ["it"])


def backend_of(**methods: Any) -> Backend:
    """Return the backend of a service with some methods of its own."""
    service = Service("it", type("Mine", (Good,), methods))
    service.distribution = "berth-it"
    return service.backend


def namespace_of(**attributes: Any) -> Namespace:
    """Return what such a backend opens."""
    made = type("Mine", (Namespace,), {"url": "it://h:1", **attributes})()
    backend = backend_of(open=contextmanager(lambda *_: (yield made)))
    with backend.open(GIVEN, GIVEN) as opened:
        return opened


def fail(*_: object) -> Any:
    """Fail as a slip does."""
    raise AttributeError("no such thing")


def require_told(raised: pytest.ExceptionInfo[ServiceError], *expected: str) -> None:
    """Require what each such error has."""
    told = str(raised.value)
    for each in ("the service 'it' cannot be used: ", "berth-it", *expected):
        assert each in told


def test_a_backend_without_slips_is_taken_as_it_is() -> None:
    backend = backend_of()
    assert backend.container(GIVEN, GIVEN).image == "it"
    assert backend.probe(GIVEN) == "1"
    with backend.open(GIVEN, GIVEN) as opened:
        opened.reset()


@pytest.mark.parametrize("name", ["probe", "open"])
def test_a_method_that_must_be_there_is_missed(name: str) -> None:
    with pytest.raises(ServiceError) as raised:
        backend_of(**{name: getattr(Backend, name)})
    require_told(raised, f"Mine has no {name}().", f"expected: {name}() returns ")


def test_a_program_without_local_and_a_service_without_any_start_are_told() -> None:
    with pytest.raises(ServiceError) as raised:
        backend_of(program="it", local=Backend.local)
    require_told(raised, "Mine has no local().", "LocalProcess")
    with pytest.raises(ServiceError) as raised:
        backend_of(container=Backend.container, local=Backend.local)
    require_told(raised, "Mine has no container().")


def test_what_is_no_backend_is_told() -> None:
    service = Service("it", lambda service: object())  # type: ignore[arg-type,return-value]
    service.distribution = "berth-it"
    with pytest.raises(ServiceError) as raised:
        service.backend  # noqa: B018
    require_told(raised, "object is no pytest_berth.api.Backend.")


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("container", 2, "a Container"),
        ("local", 2, "a LocalProcess"),
        ("probe", 1, "the version, or NotReadyError"),
        ("account", 1, "Credentials"),
        ("server_at", 1, "a Server"),
        ("placeholders", 4, "values by the names"),
        ("connection_errors", 0, "a tuple of exceptions' classes"),
    ],
)
def test_what_a_method_raises_and_returns_amiss_is_told(
    name: str, arguments: int, expected: str
) -> None:
    with pytest.raises(ServiceError) as raised:
        getattr(backend_of(**{name: fail}), name)(*[GIVEN] * arguments)
    require_told(
        raised, f"Mine.{name}() has raised AttributeError: no such thing", "line ", expected
    )
    with pytest.raises(ServiceError) as raised:
        getattr(backend_of(**{name: lambda *_: None}), name)(*[GIVEN] * arguments)
    require_told(raised, f"Mine.{name}() has returned None.", "in ", expected)


def test_a_command_that_is_one_text_is_told() -> None:
    process: Any = LocalProcess("1", "it", "it --port 1")
    with pytest.raises(ServiceError) as raised:
        backend_of(local=lambda *_: process).local(GIVEN, GIVEN)
    require_told(raised, "a list of arguments")


def test_berths_own_errors_are_passed_on() -> None:
    def probe(*_: object) -> str:
        raise NotReadyError("not yet")

    with pytest.raises(NotReadyError):
        backend_of(probe=probe).probe(GIVEN)


@pytest.mark.parametrize(
    ("opens", "expected"),
    [
        (fail, "Mine.open() has raised AttributeError: no such thing"),
        (lambda *_: None, "Mine.open() has returned None."),
        (lambda *_: (yield Cache()), "@contextmanager is missing"),
        (contextmanager(lambda *_: (yield 7)), "Mine.open() has returned 7."),
    ],
)
def test_a_namespace_that_is_not_opened_right_is_told(opens: Any, expected: str) -> None:
    with pytest.raises(ServiceError) as raised, backend_of(open=opens).open(GIVEN, GIVEN):
        pass
    require_told(raised, expected, "expected: ")


def test_a_failed_connection_is_passed_on_as_it_may_be_a_lost_server() -> None:
    def opens(*_: object) -> Any:
        raise ConnectionRefusedError

    with pytest.raises(ConnectionRefusedError), backend_of(open=opens).open(GIVEN, GIVEN):
        pass


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        ({"url": "", "reset": lambda self: None}, "the url of Mine"),
        ({}, "Mine has no reset()"),
        ({"restores": True}, "Mine has no capture() beside restores = True"),
    ],
)
def test_a_namespace_that_lacks_something_is_told(
    attributes: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ServiceError) as raised:
        namespace_of(**attributes)
    require_told(raised, expected)


def test_a_clean_slate_that_fails_or_is_asynchronous_is_told() -> None:
    async def later(_: object) -> None:
        pass

    with pytest.raises(ServiceError) as raised:
        namespace_of(reset=fail).reset()
    require_told(raised, "Mine.reset() has raised AttributeError: no such thing")
    with pytest.raises(ServiceError) as raised:
        namespace_of(reset=later).reset()
    require_told(raised, "a function that is not async")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"packages": "nats"}, "packages is a list of names, not 'nats'"),
        ({"prefix": "my-cache"}, "prefix is letters, digits, _"),
        ({"scope": "workers"}, "scope is one of run, worker, test, not 'workers'"),
        ({"backend": "berth_it.backend"}, "backend is 'module:class'"),
        ({"options": ["berth_other_name"]}, "options begin with berth_it_"),
    ],
)
def test_a_descriptor_that_cannot_be_is_refused(arguments: dict[str, Any], expected: str) -> None:
    given = {"backend": Good, **arguments}
    given["options"] = [SimpleNamespace(name=name) for name in given.get("options", ())]
    with pytest.raises((TypeError, ValueError), match=expected.replace("(", r"\(")):
        Service("it", **given)


def test_a_distributions_name_among_the_packages_is_told() -> None:
    service = Service("it", Good, packages=["pytest-berth"])
    problem = service.missing_package()
    assert isinstance(problem, ServiceError)
    assert "packages names 'pytest-berth': use the name that is imported" in problem.why


@pytest.mark.parametrize("package", ["no_such_package", "no_such.package"])
def test_a_missing_package_is_told(package: str) -> None:
    problem = Service("it", Good, packages=[package]).missing_package()
    assert isinstance(problem, MissingExtraError)


def test_an_option_that_no_service_has_is_told() -> None:
    from pytest_berth.api import Option as Made

    option: Option[str] = Made("berth_it_name", text, "", "of nobody")
    with pytest.raises(ServiceError, match="berth_it_name is not a setting of this run"):
        settings(Service("it", Good))[option]


def test_a_placeholder_without_a_value_is_told() -> None:
    service = Service("it", Good, placeholders=["it_url", "it_name"])
    with pytest.raises(ServiceError, match=r"has no value for \{it_name\}") as raised:
        plugin_state._require_all(service, service.placeholders, {"it_url": "it://h:1"})
    assert "Good.placeholders() returns only it_url" in raised.value.why
