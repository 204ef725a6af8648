"""pytest's hooks, and nothing else: each hands over to the part that answers it.

Every run calls these, also one that needs nothing of ours: it is to cost next to nothing, so what
they import at once is little. The hooks of other runs are in `activation`.

PYTEST_DONT_REWRITE: there are no assertions here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth import manifest

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Sequence

    from pytest_berth.api import Service

# Whether anything is set; missing where the plugin has come too late to look.
_IS_ACTIVE = pytest.StashKey[bool]()


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Add the settings, flags and fixtures."""

    def fixture_function(service: str, name: str) -> Callable[..., Any]:
        from pytest_berth import activation

        config: Any = pluginmanager.get_plugin("pytestconfig")
        activation.active(config)
        return activation.fixture_function(service, name)

    manifest.add_options(parser, manifest.read()["options"])
    parser.getgroup("berth").addoption(
        "--berth-stop", action="store_true", help="end the servers kept for this project, and exit"
    )
    parser.getgroup("berth").addoption(
        "--berth-find-polluter",
        metavar="NODEID",
        help="find the earlier test without which this one passes, by ever smaller runs",
    )
    for told in manifest.read()["services"]:
        manifest.add_options(parser, told["options"])
        plugin = manifest.fixture_plugin(told, fixture_function)
        pluginmanager.register(plugin, manifest.plugin_name(told["name"]))
    for service in _services_of_others():
        from pytest_berth.isolation import service_fixtures

        manifest.add_options(parser, (option.row for option in service.options))
        name = manifest.plugin_name(service.name)
        pluginmanager.register(service_fixtures.of_service(service), name)
        if service.fixture_module:
            pluginmanager.import_plugin(service.fixture_module)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(
    early_config: pytest.Config, parser: pytest.Parser, args: list[str]
) -> Iterator[None]:
    """Read the settings and set the application's environment, before conftest files.

    Afterwards, when these have added their flags, those that nobody knows are told.
    """
    is_active = bool(manifest.others()) or manifest.is_anything_set(early_config)
    early_config.stash[_IS_ACTIVE] = is_active
    given = early_config.known_args_namespace
    if not is_active:
        result = yield
    else:
        from pytest_berth import activation
        from pytest_berth.run import startup_objects

        berth = activation.activate(early_config, parser)
        if not (given.help or given.berth_stop):
            startup_objects.leave_out()
            activation.prepare(berth, early_config, parser)
        try:
            result = yield
        except Exception as error:
            activation.explain_import(berth, error)
            raise
    if any(each.startswith("--berth") for each in args):
        from pytest_berth.config import flags

        flags.refuse_unknown(parser, args)
    return result


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """End kept servers, or look for a polluter, if asked to, in the place of running tests."""
    if config.getoption("berth_stop"):
        from pytest_berth.run.reuse import expiry

        return expiry.end_and_tell(config.rootpath)
    wanted = config.getoption("berth_find_polluter")
    if wanted:
        from pytest_berth.find_polluter import command

        return command.find(config, wanted)
    return None


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers."""
    if _IS_ACTIVE not in config.stash:
        raise pytest.UsageError(
            "pytest-berth was loaded by a conftest file, which is too late: install it, or use"
            " `pytest -p pytest_berth.plugin`"
        )
    told = manifest.read()
    of_others = (service.marker.line for service in _services_of_others())
    for line in (*told["markers"], *(each["marker"] for each in told["services"]), *of_others):
        config.addinivalue_line("markers", line)
    if config.option.showfixtures or config.option.show_fixtures_per_test:
        from pytest_berth import activation

        activation.document_fixtures(config)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Show the settings and where they come from."""
    if not config.stash[_IS_ACTIVE] and config.get_verbosity() < 3:
        return [manifest.NOTHING_SET]
    from pytest_berth import activation
    from pytest_berth.reporting.header import header

    return header(activation.active(config), config.get_verbosity())


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> Generator[None, None, None]:
    """Mark integration tests before ``-m`` selects; afterwards check and order what is left."""
    if not config.stash[_IS_ACTIVE] and not any(map(manifest.may_concern, items)):
        yield
        return
    from pytest_berth import activation

    yield from activation.collected(config, items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: Sequence[Any]) -> None:
    """Make xdist's workers join this run, and print what they tell."""
    from pytest_berth import activation
    from pytest_berth.reporting.worker_output import Relay
    from pytest_berth.run import xdist

    berth = activation.active(config)
    for spec in specs:
        spec.env.update(xdist.worker_environment(berth.run))
    relay = Relay(berth.run, berth.progress.note)
    relay.start()
    berth.after_tests.callback(relay.stop)
    config.pluginmanager.register(xdist.Controller(berth.run), "berth-controller")


def _services_of_others() -> Sequence[Service]:
    """Return the services of other distributions; ours are known from the manifest."""
    if not manifest.others():
        return ()
    from pytest_berth.services import discovery

    return [service for service in discovery.find().services if service.distribution]
