"""Servers without pytest: started, given a namespace and a clean slate as in a run, and stopped.

It is a run of one process, made of the parts that a run of tests is made of: so what is started is
in a registry, a reaper removes what a killed process leaves, and other runs keep apart from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from inspect import isgeneratorfunction, signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_berth.config import exports
from pytest_berth.debug_log import debug
from pytest_berth.errors import ServiceError
from pytest_berth.isolation import lifecycle
from pytest_berth.isolation.running_server import RunningServer, shared_server
from pytest_berth.run.plugin_state import PLUGIN_STATE, PluginState
from pytest_berth.standalone import project

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from os import PathLike

    import pytest

    from pytest_berth.api import Namespace, Progress, Service
    from pytest_berth.isolation.lifecycle import OpenNamespace
    from pytest_berth.standalone.project import Project

_CONFIG = "pytestconfig"


@dataclass(frozen=True)
class OpenServer:
    """A running server, and what this process has of it for itself.

    Attributes:
        service: Its kind: ``"postgres"``.
        server: Where it runs, its version, its log.
        values: What ``berth_export`` may use, by the placeholder's name: ``pg_url``, ``pg_dsn``.
    """

    service: str
    server: RunningServer
    values: Mapping[str, object] = field(repr=False)
    _opened: OpenNamespace = field(repr=False)

    @property
    def url(self) -> str:
        """Its address with the account, for the database, number or prefix of this process."""
        return self.namespace.url

    @property
    def namespace(self) -> Namespace:
        """What the service has opened for this process."""
        return self._opened.namespace

    def isolated(self) -> Any:
        """Return a context that gives its block a clean slate, and cleans up behind it."""
        return self._opened.isolate(None)


class Servers(Mapping[str, OpenServer]):
    """Running servers by the names of their services.

    Attributes:
        environment: The variables of ``berth_export`` that need no other servers than these.
    """

    def __init__(self, opened: Mapping[str, OpenServer], environment: Mapping[str, str]) -> None:
        self.environment = environment
        self._opened = opened

    def __getitem__(self, name: str) -> OpenServer:
        """Return the server of a service."""
        return self._opened[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names of the services."""
        return iter(self._opened)

    def __len__(self) -> int:
        """Return how many servers there are."""
        return len(self._opened)

    @contextmanager
    def isolated(self) -> Iterator[None]:
        """Give a block a clean slate on every server, and clean up behind it.

        What was written before stays; what the block writes is gone afterwards.

        Raises:
            IsolationError: A server is lost, or what was changed cannot be put back.
        """
        with ExitStack() as stack:
            for each in self.values():
                stack.enter_context(each.isolated())
            yield


class _Quiet:
    """Tells what is going on in the debug log only."""

    def note(self, text: str) -> None:
        debug("%s", text)

    def update(self, label: str, done: int, total: int | None) -> None:
        """Tell nothing: it is a download's progress."""

    def phase(self, what: str, text: str) -> None:
        """Tell nothing: the debug log has each step."""


@contextmanager
def servers(
    *services: str,
    settings: Mapping[str, object] | None = None,
    directory: str | PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Iterator[Servers]:
    """Start servers, open a namespace on each as a run of tests would, and stop them at the end.

    The settings are the project's, as pytest reads them; conftest files are not imported.

    Args:
        services: Their names or prefixes: ``"postgres"``, ``"pg"``; those that ``berth_export`` and
            ``berth_autouse`` name, when left out.
        settings: Settings that go before the project's: ``{"berth_pg_version": "16"}``.
        directory: A directory of the project's; the working directory when left out.
        progress: Told of starts and downloads; the debug log when left out.

    Yields:
        The servers by the names of their services, and the environment of ``berth_export``.

    Raises:
        SettingsError: A setting is wrong, or there is no such service.
        MissingExtraError: A service's Python packages are not installed.
        NoSourceError: No source can serve a service.
        StartError: A server did not become ready within ``berth_start_timeout`` seconds.
    """
    found = project.find(settings, Path(directory) if directory else None)
    found.require_sound()
    with running(found, found.named(services), progress or _Quiet()) as opened:
        yield opened


@contextmanager
def running(
    found: Project,
    services: Sequence[Service],
    progress: Progress,
    fixed: Mapping[str, object] | None = None,
) -> Iterator[Servers]:
    """Start servers of a project, and stop them at the end: see `servers`.

    Args:
        found: The project.
        services: What is to be started.
        progress: Told of starts and downloads.
        fixed: Settings that are not left to the project, by name.
    """
    found.begin_run(progress, fixed)
    config = found.config
    berth = config.stash[PLUGIN_STATE]
    with ExitStack() as stack:
        stack.callback(berth.end)
        stack.enter_context(found.importable())
        asked = _with_dependencies(services)
        # What depends on others starts when their namespaces are there.
        _start(berth, [each for each in asked if not each.depends_on])
        opened = {each.name: _open(config, each, stack) for each in asked}
        values = {name: text for each in opened.values() for name, text in each.values.items()}
        yield Servers(opened, exports.render(berth.exports, values))


def _with_dependencies(services: Sequence[Service]) -> list[Service]:
    """Return services and what they depend on, those last that depend on others."""
    found = {
        each.name: each for service in services for each in (*service.depends_on.values(), service)
    }
    return sorted(found.values(), key=lambda each: len(each.depends_on))


def _start(berth: PluginState, services: Sequence[Service]) -> None:
    """Start all servers side by side; where one cannot be had, the others are undone."""
    with ThreadPoolExecutor(max(1, len(services)), thread_name_prefix="berth-start") as pool:
        try:
            list(pool.map(berth.server, services))
        except BaseException:
            berth.manager.give_up()
            raise


def _open(config: pytest.Config, service: Service, stack: ExitStack) -> OpenServer:
    berth = config.stash[PLUGIN_STATE]
    needed = {name: _fixture_value(config, service, name) for name in service.needs}
    stack.enter_context(lifecycle.shared(config, service, needed))
    opened = lifecycle.shared_namespace(config, service)
    assert opened is not None, "it was opened a line before"
    place = (opened.server, berth.settings, berth.run.id, berth.run.worker)
    values = service.backend.placeholders(*place)
    return OpenServer(service.name, shared_server(config, service), values, opened)


def _fixture_value(config: pytest.Config, service: Service, name: str) -> object:
    """Return the value of a fixture that a service needs, as it is without an override.

    Raises:
        ServiceError: It can be had in a run of pytest only.
    """
    module = import_module(service.fixture_module) if service.fixture_module else None
    function: Callable[..., object] | None = getattr(
        getattr(module, name, None), "__wrapped__", None
    )
    if function is None or isgeneratorfunction(function):
        raise ServiceError(
            f"the service {service.name!r} cannot be used outside pytest.",
            why=f"it needs the fixture {name!r}, which is not a function that returns a value",
            remedy="use it in tests",
        )
    asked = signature(function).parameters
    return function(
        **{
            each: config if each == _CONFIG else _fixture_value(config, service, each)
            for each in asked
        }
    )
