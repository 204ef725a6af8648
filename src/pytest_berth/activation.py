"""The plugin's state, made when a setting or a test needs it, and the hooks of runs that have one.

A run in which nothing is set, and no test may need a server, gets by without: see `manifest`.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth import manifest
from pytest_berth.collection import requirements
from pytest_berth.config import loading
from pytest_berth.config import options as core_options
from pytest_berth.errors import BerthError, SettingsError
from pytest_berth.isolation import service_fixtures
from pytest_berth.run import expected_services, xdist
from pytest_berth.run.plugin_state import PLUGIN_STATE, PluginState
from pytest_berth.services import discovery

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from pytest_berth.api import Progress, Service

_NAME = "berth-active"


def active(config: pytest.Config) -> PluginState:
    """Return the plugin's state, made now where it is not there yet: then nothing is set."""
    found = config.stash.get(PLUGIN_STATE, None)
    return found or _activate(config, None)


def activate(config: pytest.Config, parser: pytest.Parser) -> PluginState:
    """Read the settings, and make the plugin's state.

    Raises:
        pytest.UsageError: A service of another distribution cannot be loaded, or one that the
            settings declare cannot be used.
    """
    return _activate(config, parser)


def _activate(config: pytest.Config, parser: pytest.Parser | None) -> PluginState:
    services, broken = discovery.find()
    if broken:
        raise pytest.UsageError("\n\n".join(map(str, broken)))
    presets: Mapping[str, loading.Preset] = {}
    told = ""
    if parser:
        declared, presets, told = _declared(config, parser, services)
        services = (*services, *declared)
    options = [*core_options.OPTIONS, *(option for s in services for option in s.options)]
    if parser:
        values = loading.read(config, options, presets)
    else:
        values = core_options.defaults(config.rootpath, options)
    berth = PluginState(values, xdist.current_run(), services, lambda: _start_reporting(config))
    berth.declared = told
    config.stash[loading.SETTINGS] = values
    config.stash[PLUGIN_STATE] = berth
    # pytest_unconfigure is not called where a conftest file or the command line ends the run.
    config.add_cleanup(partial(_end, berth, berth.end))
    config.pluginmanager.register(sys.modules[__name__], _NAME)
    return berth


def _declared(
    config: pytest.Config, parser: pytest.Parser, known: Sequence[Service]
) -> tuple[Sequence[Service], Mapping[str, loading.Preset], str]:
    """Return the services that the settings declare, each with its options, marker, fixtures.

    Returns:
        The services, what the settings of others are where nothing sets them, and what to tell.
    """
    asked = (core_options.SERVICES, core_options.COMPOSE)
    try:
        if not any(loading.read_one(config, option).value for option in asked):
            return (), {}, ""
        from pytest_berth.services import declared

        found = declared.declare(config, parser, known)
    except BerthError as error:
        raise pytest.UsageError(str(error)) from None
    for service in found.services:
        config.addinivalue_line("markers", service.marker.line)
        name = manifest.plugin_name(service.name)
        config.pluginmanager.register(service_fixtures.of_service(service), name)
    return found.services, found.presets, found.told


def prepare(berth: PluginState, config: pytest.Config, parser: pytest.Parser) -> None:
    """Set the application's environment, and lead a Django project's databases to servers.

    Raises:
        pytest.UsageError: Settings are wrong.
    """
    problems = berth.prepare()
    if berth.settings[core_options.DJANGO] and not problems:
        from pytest_berth.django.start import start

        try:
            start(config, parser, berth)
        except SettingsError as error:
            problems.append(error)
    if problems:
        raise pytest.UsageError("\n\n".join(map(str, problems)))


def explain_import(berth: PluginState, error: Exception) -> None:
    """Say why a conftest file cannot be imported; pytest shows the error, without secrets."""
    from pytest_berth.reporting import redaction

    redaction.redact_conftest_failure(error, berth)
    if berth.exports:
        from pytest_berth.reporting import hints

        hint = hints.of_failed_import(error, berth)
        if hint:
            print(hint, file=sys.stderr)


def fixture_function(service: str, name: str) -> Callable[..., Any]:
    """Return the function of a fixture of ours, by the names of both."""
    return _functions(service)[name]


@cache
def _functions(name: str) -> dict[str, Callable[..., Any]]:
    from importlib import import_module

    (service,) = (each for each in discovery.find().services if each.name == name)
    of_module = vars(import_module(service.fixture_module)) if service.fixture_module else {}
    found = {**vars(service_fixtures.of_service(service)), **of_module}
    return {key: each.__wrapped__ for key, each in found.items() if hasattr(each, "__wrapped__")}


def document_fixtures(config: pytest.Config) -> None:
    """Let pytest show the documentation of our fixtures, and where they are."""
    for service in manifest.read()["services"]:
        plugin = config.pluginmanager.get_plugin(manifest.plugin_name(service["name"]))
        for name, *_ in service["fixtures"]:
            deferred = getattr(plugin, name).__wrapped__
            deferred.__wrapped__ = fixture_function(service["name"], name)
            deferred.__doc__ = deferred.__wrapped__.__doc__


def collected(config: pytest.Config, items: list[pytest.Item]) -> Generator[None, None, None]:
    """Mark integration tests before ``-m`` selects; afterwards check and order what is left."""
    berth = active(config)
    exported = tuple(filter(berth.exports_any, berth.services))
    integration = [item for item in items if requirements.prepare(item, berth.services, exported)]
    berth.may_need_servers = bool(integration)
    yield
    try:
        requirements.check(items, berth.services, exported, berth.run.workers)
    except BerthError as error:
        xdist.end_run(berth.run, items, error)
    if integration and berth.settings[core_options.FOREIGN] != "allow":
        from pytest_berth.isolation import foreign_connections

        foreign_connections.start(config, berth, items)
    failed_first = config.getoption("failedfirst", False)
    if integration and berth.settings[core_options.ORDER] == "unit-first" and not failed_first:
        from pytest_berth.collection import ordering

        ordering.unit_modules_first(items, berth.services)


def pytest_configure(config: pytest.Config) -> None:
    """Register what the settings ask for."""
    berth = config.stash[PLUGIN_STATE]
    if berth.is_given_a_server:
        berth.progress  # noqa: B018  its hooks take the password out of what unit tests print
    if berth.settings[core_options.FAIL_FAST]:
        from pytest_berth.run.fail_fast import FailFast

        config.pluginmanager.register(FailFast(berth.run, berth.run.workers), "berth-fail-fast")
    if berth.settings[core_options.AUDIT] != "off" and not config.option.collectonly:
        from pytest_berth.reporting import audit

        audit.start(config)
    if berth.settings[core_options.HTML] or berth.settings[core_options.JSON]:
        from pytest_berth.reporting.page import collector

        collector.start(config)
    if berth.settings[core_options.KEEP_FAILED]:
        from pytest_berth.isolation.keep_failed import KeepFailed

        config.pluginmanager.register(KeepFailed(), "berth-keep-failed")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Generator[None, object, object]:
    """Start what the same command needed last time, while its tests are collected."""
    expected = expected_services.of(session.config)
    if not expected:
        return (yield)
    from pytest_berth.run import prestart

    with prestart.expecting(session.config.stash[PLUGIN_STATE], session, expected):
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Start what the selected tests need, while the first of them run."""
    berth = session.config.stash[PLUGIN_STATE]
    if berth.may_need_servers and berth.exported:
        from pytest_berth.reporting import hints

        hints.tell_changed_variables(berth)
    concerned = berth.may_need_servers or berth.is_expecting_servers
    if concerned and not berth.settings[core_options.FAIL_FAST]:
        from pytest_berth.run import prestart

        prestart.start(berth, session)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    """End the run when a worker has found a usage error."""
    xdist.raise_workers_error(node.config.stash[PLUGIN_STATE].run)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let an xdist worker undo what it has done; what the run has started outlives the results."""
    berth = session.config.stash[PLUGIN_STATE]
    if berth.run.is_owner:
        berth.finish_testing()
    else:
        berth.end()
        # Afterwards, as a start that others wait for is completed there.
        berth.run.timeline.hand_over()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what this run has started, when its results have been printed."""
    berth = config.stash[PLUGIN_STATE]
    if berth.served:
        from pytest_berth.reporting import progress

        with progress.hide_output(config):
            _end(berth, berth.end)
    else:
        _end(berth, berth.end)


def _end(berth: PluginState, end: Callable[[], None]) -> None:
    """Stop what the run has started; at Ctrl-C, leave what is not stopped yet to the reaper."""
    if berth.is_left_to_reaper:
        return
    try:
        end()
    except KeyboardInterrupt:
        berth.is_left_to_reaper = True
        # The reaper waits for the end of this process, which threads that stop servers may delay.
        signal.signal(signal.SIGINT, lambda *_: os._exit(pytest.ExitCode.INTERRUPTED))
        berth.progress.note("interrupted while servers were ended: the reaper ends the rest")


def _start_reporting(config: pytest.Config) -> Progress:
    from pytest_berth.reporting import hooks

    return hooks.start(config)
