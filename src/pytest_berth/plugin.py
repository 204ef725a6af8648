"""pytest's hooks, and nothing else: each hands over to the part that answers it.

PYTEST_DONT_REWRITE: there are no assertions here.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.collection import requirements
from pytest_berth.config import loading, markers
from pytest_berth.config import options as core_options
from pytest_berth.errors import BerthError
from pytest_berth.isolation import fixtures
from pytest_berth.run import run
from pytest_berth.run.plugin_state import PLUGIN_STATE, PluginState
from pytest_berth.services import discovery

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from pytest_berth.api import Progress


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the settings, flags and fixtures."""
    loading.add_options(parser, core_options.OPTIONS)
    parser.getgroup("berth").addoption(
        "--berth-stop", action="store_true", help="end the servers kept for this project, and exit"
    )
    for service in discovery.find().services:
        loading.add_options(parser, service.options)
        pluginmanager.register(fixtures.of_service(service), f"berth-{service.name}")
        if service.fixture_module:
            pluginmanager.import_plugin(service.fixture_module)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser
) -> Iterator[None]:
    """Read the settings and set the application's environment, before conftest files."""
    services, broken = discovery.find()
    if broken:
        raise pytest.UsageError("\n\n".join(map(str, broken)))
    options = [*core_options.OPTIONS, *(option for s in services for option in s.options)]
    values = loading.read(early_config, options)
    berth = PluginState(values, run.current(), services, lambda: _start_reporting(early_config))
    early_config.stash[loading.SETTINGS] = values
    early_config.stash[PLUGIN_STATE] = berth
    # pytest_unconfigure is not called where a conftest file or the command line ends the run.
    early_config.add_cleanup(berth.end)
    given = early_config.known_args_namespace
    if not (given.help or given.berth_stop):
        _start(berth)
    try:
        return (yield)
    except Exception as error:
        _explain_import(berth, error)
        raise


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """End kept servers if asked to, in the place of running tests."""
    if not config.getoption("berth_stop"):
        return None
    from pytest_berth.run.reuse import expiry

    return expiry.end_and_tell(config.rootpath)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers, and what the settings ask for."""
    for line in markers.lines(discovery.find().services):
        config.addinivalue_line("markers", line)
    if PLUGIN_STATE not in config.stash:
        raise pytest.UsageError(
            "pytest-berth was loaded by a conftest file, which is too late: install it, or use"
            " `pytest -p pytest_berth.plugin`"
        )
    berth = config.stash[PLUGIN_STATE]
    if berth.is_given_a_server:
        berth.progress  # noqa: B018  its hooks take the password out of what unit tests print
    if berth.settings[core_options.FAIL_FAST]:
        from pytest_berth.run.fail_fast import FailFast

        config.pluginmanager.register(FailFast(berth.run, berth.run.workers), "berth-fail-fast")


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Show the settings and where they come from."""
    from pytest_berth.reporting.header import header

    return header(config.stash[PLUGIN_STATE], config.get_verbosity())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    """Mark integration tests before ``-m`` selects; afterwards check and order what is left."""
    berth = config.stash[PLUGIN_STATE]
    exported = tuple(filter(berth.exports_any, berth.services))
    integration = [item for item in items if requirements.prepare(item, berth.services, exported)]
    berth.may_need_servers = bool(integration)
    yield
    try:
        requirements.check(items, berth.services, exported, berth.run.workers)
    except BerthError as error:
        from pytest_berth.run import xdist

        xdist.end_run(berth.run, items, error)
    if integration and berth.settings[core_options.FOREIGN] != "allow":
        from pytest_berth.isolation import foreign_connections

        foreign_connections.start(config, berth, items)
    failed_first = config.getoption("failedfirst", False)
    if integration and berth.settings[core_options.ORDER] == "unit-first" and not failed_first:
        from pytest_berth.collection import ordering

        ordering.unit_modules_first(items, berth.services)


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> None:
    """Start what the selected tests need, while the first of them run."""
    berth = session.config.stash[PLUGIN_STATE]
    if berth.may_need_servers and not berth.settings[core_options.FAIL_FAST]:
        from pytest_berth.run import prestart

        prestart.start(berth, session)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: Sequence[Any]) -> None:
    """Make xdist's workers join this run, and print what they tell."""
    from pytest_berth.reporting.worker_output import Relay
    from pytest_berth.run.xdist import Controller

    berth = config.stash[PLUGIN_STATE]
    for spec in specs:
        spec.env.update(berth.run.variables())
    relay = Relay(berth.run, berth.progress.note)
    relay.start()
    berth.after_tests.callback(relay.stop)
    config.pluginmanager.register(Controller(berth.run), "berth-controller")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    """End the run when a worker has found a usage error."""
    from pytest_berth.run import xdist

    xdist.raise_workers_error(node.config.stash[PLUGIN_STATE].run)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Let an xdist worker undo what it has done; what the run has started outlives the results."""
    berth = session.config.stash[PLUGIN_STATE]
    if berth.run.is_owner:
        berth.finish_testing()
    else:
        berth.end()


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what this run has started, when its results have been printed."""
    if PLUGIN_STATE not in config.stash:
        return
    berth = config.stash[PLUGIN_STATE]
    if berth.served:
        from pytest_berth.reporting import progress

        with progress.hide_output(config):
            berth.end()
    else:
        berth.end()


def _start_reporting(config: pytest.Config) -> Progress:
    from pytest_berth.reporting import hooks

    return hooks.start(config)


def _explain_import(berth: PluginState, error: Exception) -> None:
    """Say why a conftest file cannot be imported; pytest shows the error, without secrets."""
    from pytest_berth.reporting import redaction

    redaction.redact_conftest_failure(error, berth)
    if berth.exports:
        from pytest_berth.reporting import hints

        hint = hints.of_failed_import(error, berth)
        if hint:
            print(hint, file=sys.stderr)


def _start(berth: PluginState) -> None:
    problems = berth.prepare()
    if problems:
        raise pytest.UsageError("\n\n".join(map(str, problems)))
