"""Which services there are: ours, and those of other distributions' entry points.

An entry point of the group ``pytest_berth.services`` names a `Service`::

    [project.entry-points."pytest_berth.services"]
    memcached = "berth_memcached:MEMCACHED"

pytest, the command line, the reaper and the reuse reaper all ask here, so they see the same set.
Only the entry points that `manifest.others` has found are parsed; ours are known without.
"""

from __future__ import annotations

import os
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from pytest_berth import manifest
from pytest_berth.config.descriptor import Service, broken
from pytest_berth.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from importlib.metadata import EntryPoint

# As in the entry points of pyproject.toml, which a test holds.
OURS = (
    "pytest_berth.services.postgres.service:POSTGRES",
    "pytest_berth.services.redis.service:REDIS",
    "pytest_berth.services.kafka.service:KAFKA",
    "pytest_berth.services.mongodb.service:MONGODB",
    "pytest_berth.services.mysql.service:MYSQL",
    "pytest_berth.services.s3.service:S3",
    "pytest_berth.services.wiremock.service:WIREMOCK",
    "pytest_berth.services.elasticsearch.service:ELASTICSEARCH",
    "pytest_berth.services.opensearch.service:OPENSEARCH",
    "pytest_berth.services.rabbitmq.service:RABBITMQ",
)
_OUR_DISTRIBUTION = "pytest-berth"


class Found(NamedTuple):
    """The services, and what is wrong with those that are left out.

    Attributes:
        services: Ours first.
        problems: What an entry point names cannot be imported, is no `Service`, or has the name or
            prefix of another one.
    """

    services: tuple[Service, ...]
    problems: tuple[ServiceError, ...]


@cache
def find() -> Found:
    """Return all services; installed distributions do not change while a process runs."""
    found = ours()
    problems: list[ServiceError] = []
    for entry, distribution in _entry_points():
        try:
            service = _load(entry, distribution)
            _require_new(service, found)
            found.append(service)
        except ServiceError as problem:
            problems.append(problem)
    return Found(tuple(found), tuple(problems))


def ours() -> list[Service]:
    """Return the services of this distribution."""
    return [_resolve(path) for path in OURS]


def _resolve(path: str) -> Service:
    module, _, name = path.partition(":")
    service: Service = getattr(import_module(module), name)
    return service


def _entry_points() -> Iterator[tuple[EntryPoint, str]]:
    """Yield the entry points of other distributions, with the distribution's name, in order."""
    seen = {_OUR_DISTRIBUTION}
    for directory in manifest.others():
        from importlib.metadata import Distribution

        distribution = Distribution.at(directory)
        name = distribution.metadata["Name"] or os.path.basename(directory)  # noqa: PTH119
        if name not in seen:  # what comes first on the path is what is imported
            seen.add(name)
            for entry in distribution.entry_points:
                if entry.group == manifest.GROUP:
                    yield entry, name


def _load(entry: EntryPoint, distribution: str) -> Service:
    try:
        service = entry.load()
    except Exception as error:
        raise broken(entry.name, distribution, error) from error
    if not isinstance(service, Service):
        told = TypeError(f"{entry.value} is {service!r}, and no pytest_berth.api.Service")
        raise broken(entry.name, distribution, told)
    service.distribution = distribution
    return service


def _require_new(service: Service, known: list[Service]) -> None:
    for other in known:
        if service.name == other.name or service.prefix == other.prefix:
            origin = other.distribution or _OUR_DISTRIBUTION
            raise ServiceError(
                f"two services have the name {service.name!r} or the prefix {service.prefix!r}.",
                why=f"one is of the distribution {service.distribution!r}, one of {origin!r}",
                remedy=f"pip uninstall {service.distribution}",
            )
