"""Fixtures whose package is not installed say which it is, and what to install."""

from __future__ import annotations

import importlib.metadata
import inspect
import subprocess
import sys
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_berth.errors import MissingExtraError
from pytest_berth.services import discovery
from pytest_berth.services.elasticsearch import fixtures as elasticsearch
from pytest_berth.services.mysql import asynchronous
from pytest_berth.services.mysql.namespace import WorkerDatabase
from pytest_berth.services.opensearch import fixtures as opensearch
from pytest_berth.services.rabbitmq import fixtures as rabbitmq
from pytest_berth.services.s3 import fixtures as s3

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def set_up(module: Any, fixture: str, **given: object) -> Callable[[], object]:
    """Return what sets a fixture up, with these values of those that it needs."""

    def call() -> object:
        function = inspect.unwrap(getattr(module, fixture))
        arguments = dict.fromkeys(inspect.signature(function).parameters)
        made = function(**{**arguments, **given})
        return next(made) if inspect.isgenerator(made) else made

    return call


def engine() -> object:
    """Return SQLAlchemy's engine of a database that is nowhere."""
    nowhere: Any = SimpleNamespace(_engine=None, url="mysql+pymysql://nowhere")
    made: Any = WorkerDatabase.engine
    return made.fget(nowhere)


# By fixture: what sets it up, the extra, and the packages that it needs besides the service's own.
FIXTURES: Mapping[str, tuple[Callable[[], object], str, list[str]]] = {
    "s3_async_client": (
        set_up(s3, "s3_async_client", s3_options={}),
        "aiobotocore",
        ["aiobotocore"],
    ),
    "rabbitmq_async_connection": (
        set_up(rabbitmq, "rabbitmq_async_connection", rabbitmq_url="amqp://nowhere"),
        "rabbitmq",
        ["aio_pika"],
    ),
    "elasticsearch_async_client": (
        set_up(elasticsearch, "elasticsearch_async_client", elasticsearch_url="http://nowhere:1"),
        "elasticsearch",
        ["aiohttp"],
    ),
    "opensearch_async_client": (
        set_up(opensearch, "opensearch_async_client", opensearch_url="http://nowhere:1"),
        "opensearch",
        ["aiohttp"],
    ),
    "mysql_engine": (engine, "mysql", ["sqlalchemy"]),
    "mysql_async_engine": (
        lambda: asynchronous.engine("mysql+aiomysql://nowhere"),
        "aiomysql",
        ["aiomysql", "sqlalchemy", "greenlet"],
    ),
}


@pytest.mark.parametrize(
    ("fixture", "package"),
    [(fixture, each) for fixture, (_, _, packages) in FIXTURES.items() for each in packages],
)
def test_a_fixture_names_the_package_and_the_extra(
    fixture: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, extra, _ = FIXTURES[fixture]
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError) as caught:
        call()
    assert caught.value.what == f"{fixture} needs the package {package!r}, which is not installed."
    assert caught.value.remedy == f'pip install "pytest-berth[{extra}]"'


@pytest.mark.parametrize(
    ("service", "package"),
    [
        pytest.param(service, package, id=f"{service.name}-{package}")
        for service in discovery.ours()
        for package in service.packages
    ],
)
def test_a_service_names_its_packages_and_the_extra(
    service: Any, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setattr(importlib.metadata, "distributions", list)
    missing = service.missing_package()
    assert missing.what == f"{service.name} needs the package {package!r}, which is not installed."
    assert missing.remedy == f'pip install "pytest-berth[{service.extra}]"'


def test_what_every_run_with_a_server_imports_needs_no_driver() -> None:
    drivers = ("aiokafka", "aiomysql", "asyncpg", "confluent_kafka", "kafka", "pika", "psycopg")
    drivers += ("psycopg2", "pymongo", "pymysql", "redis", "sqlalchemy")
    code = f"""if True:
        import sys
        sys.modules |= dict.fromkeys({drivers})
        import pytest_berth.isolation.foreign_connections
        import pytest_berth.run.prestart, pytest_berth.run.server_manager
    """
    subprocess.run([sys.executable, "-c", code], check=True)
