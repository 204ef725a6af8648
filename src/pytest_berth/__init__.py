"""Real servers in pytest, and a clean slate for every test.

PYTEST_DONT_REWRITE: there are no assertions here, nor in the modules of this package.
"""

from __future__ import annotations

import sys
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec

    from pytest_berth.api import Server, Service, Source
    from pytest_berth.isolation.running_server import RunningServer
    from pytest_berth.services.kafka.async_probe import AsyncProbe as KafkaAsyncProbe
    from pytest_berth.services.kafka.probe import Probe as KafkaProbe
    from pytest_berth.services.kafka.record import Record as KafkaRecord
    from pytest_berth.services.postgres.databases.database import Database, PrivateDatabase
    from pytest_berth.services.postgres.databases.named_databases import NamedDatabases
    from pytest_berth.services.wiremock.client import WireMock
    from pytest_berth.services.wiremock.received_request import ReceivedRequest as WireMockRequest
    from pytest_berth.standalone.servers import OpenServer, Servers, servers
    from pytest_berth.waiting import wait_for, wait_for_async

__all__ = [
    "Database",
    "KafkaAsyncProbe",
    "KafkaProbe",
    "KafkaRecord",
    "NamedDatabases",
    "OpenServer",
    "PrivateDatabase",
    "RunningServer",
    "Server",
    "Servers",
    "Service",
    "Source",
    "WireMock",
    "WireMockRequest",
    "servers",
    "wait_for",
    "wait_for_async",
]

_HOMES = {
    "Database": "services.postgres.databases.database:Database",
    "KafkaAsyncProbe": "services.kafka.async_probe:AsyncProbe",
    "KafkaProbe": "services.kafka.probe:Probe",
    "KafkaRecord": "services.kafka.record:Record",
    "NamedDatabases": "services.postgres.databases.named_databases:NamedDatabases",
    "OpenServer": "standalone.servers:OpenServer",
    "PrivateDatabase": "services.postgres.databases.database:PrivateDatabase",
    "RunningServer": "isolation.running_server:RunningServer",
    "Server": "api:Server",
    "Servers": "standalone.servers:Servers",
    "Service": "api:Service",
    "Source": "api:Source",
    "WireMock": "services.wiremock.client:WireMock",
    "WireMockRequest": "services.wiremock.received_request:ReceivedRequest",
    "servers": "standalone.servers:servers",
    "wait_for": "waiting:wait_for",
    "wait_for_async": "waiting:wait_for_async",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: an idle plugin needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, _, attribute = _HOMES[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), attribute)


class _CompiledModules:
    """Finds this package's modules ahead of pytest, so that their bytecode is read.

    pytest rewrites the assertions of each module of a distribution that has plugins: it compiles
    the module in every process where it may not write the result, or has not done so yet.
    """

    @staticmethod
    def find_spec(
        name: str, path: Sequence[str] | None = None, target: object = None
    ) -> ModuleSpec | None:
        if name.startswith(f"{__name__}."):
            return PathFinder.find_spec(name, path)
        return None


if "_pytest.assertion.rewrite" in sys.modules:
    sys.meta_path.insert(0, _CompiledModules)
