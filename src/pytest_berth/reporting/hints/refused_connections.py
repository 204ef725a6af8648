"""A hint where the application reaches for a server of the run that nobody has asked for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_berth.config.options import AUTOUSE, EXPORT
from pytest_berth.reporting.hints.event_loops import chain

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_berth.api import Service
    from pytest_berth.run.plugin_state import PluginState

_REFUSED = re.compile(
    r"refused|Connect call failed|NoBrokersAvailable|Unable to bootstrap|KafkaConnectionError"
)
TITLE = "no server"


def hint(error: BaseException, berth: PluginState, reached: Collection[Service]) -> str:
    """Return what to set where an exported address answers nobody; else nothing."""
    service = _refused(error, berth)
    return _hint(berth, service) if service and service not in reached else ""


def hint_on_import(error: BaseException, berth: PluginState) -> str:
    """Return what to change where the application connects before there are any tests."""
    service = _refused(error, berth)
    if not service:
        return ""
    return (
        f"The {service.name} server of this run has not been started yet: servers start with the"
        " first test that needs one.\n"
        f"  why: {EXPORT.name} tells the application of it ({_variables(berth, service)}), which"
        " connects when it is imported\n"
        "  do:  let it connect when it is first used, in a function or a fixture; an engine of"
        " SQLAlchemy, made on import, does so"
    )


def _refused(error: BaseException, berth: PluginState) -> Service | None:
    """Return the service whose exported address answered nobody, if that is the error."""
    texts = [f"{type(each).__name__}: {each}" for each in chain(error)]
    if not any(map(_REFUSED.search, texts)):
        return None
    exported = filter(berth.exports_any, berth.services)
    return next((service for service in exported if _names(berth, service, texts)), None)


def _names(berth: PluginState, service: Service, texts: list[str]) -> bool:
    servers = [
        each for each in berth.manager.registry.all("planned") if each.service == service.name
    ]
    ports = "|".join(str(server.port) for server in servers)
    return bool(ports) and any(re.search(rf"\b({ports})\b", text) for text in texts)


def _variables(berth: PluginState, service: Service) -> str:
    named = [each.variable for each in berth.exports if each.placeholders & service.placeholders]
    return " and ".join(named)


def _hint(berth: PluginState, service: Service) -> str:
    return (
        f"The {service.name} server of this run was not started, or not for this test: it asks for"
        f" no fixture of it.\n"
        f"  why: {EXPORT.name} tells the application of it ({_variables(berth, service)}), but"
        " servers run only for tests that are known to need them\n"
        f"  do:  {AUTOUSE.name} = {service.prefix} in the ini file, for all tests or those in"
        " berth_autouse_paths\n"
        f'       or a fixture: @pytest.mark.usefixtures("{service.prefix}_server")'
    )
