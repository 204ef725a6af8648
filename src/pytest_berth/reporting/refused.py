"""A hint for tests that reach for a server of the run without asking for it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_berth.reporting.loops import chain
from pytest_berth.settings import AUTOUSE, EXPORT

if TYPE_CHECKING:
    from collections.abc import Collection

    from pytest_berth.lifecycle.state import Berth
    from pytest_berth.service import Service

_REFUSED = re.compile(
    r"refused|Connect call failed|NoBrokersAvailable|Unable to bootstrap|KafkaConnectionError"
)
TITLE = "no server"


def hint(error: BaseException, berth: Berth, reached: Collection[Service]) -> str:
    """Return what to set where an exported address answers nobody; else nothing."""
    texts = [f"{type(each).__name__}: {each}" for each in chain(error)]
    if not any(map(_REFUSED.search, texts)):
        return ""
    for service in berth.services:
        if service not in reached and berth.exports_any(service) and _names(berth, service, texts):
            return _hint(berth, service)
    return ""


def _names(berth: Berth, service: Service, texts: list[str]) -> bool:
    servers = [each for each in berth.manager.leases.all("planned") if each.service == service.name]
    ports = "|".join(str(server.port) for server in servers)
    return bool(ports) and any(re.search(rf"\b({ports})\b", text) for text in texts)


def _hint(berth: Berth, service: Service) -> str:
    named = "and ".join(
        export.variable for export in berth.exports if export.placeholders & service.placeholders
    )
    return (
        f"The {service.name} server of this run was not started, or not for this test: it asks for"
        f" no fixture of it.\n"
        f"  why: {EXPORT.name} tells the application of it ({named}), but servers run only for"
        " tests that are known to need them\n"
        f"  do:  {AUTOUSE.name} = {service.prefix} in the ini file, for all tests or those in"
        " berth_autouse_paths\n"
        f'       or a fixture: @pytest.mark.usefixtures("{service.prefix}_server")'
    )
