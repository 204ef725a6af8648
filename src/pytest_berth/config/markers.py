"""The markers, and the check of their arguments: a call of a function with their signature."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_berth.errors import SettingsError, nearest, together

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    import pytest

INTEGRATION_NAME = "integration"
INTEGRATION = "integration: the test needs a real server (applied by pytest-berth itself)"
BERTH_PG = (
    "berth_pg(isolation=None, seed=()): how the test gets a clean Postgres: "
    "auto, rollback, truncation, database or none; and what it finds there besides the run's seeds"
)
BERTH_REDIS = (
    "berth_redis(scope=None): scope='test' gives the test a Redis server of its own, for what a"
    " database number does not keep apart: pub/sub, CONFIG, functions"
)
BERTH_KAFKA = (
    "berth_kafka(topics=(), scope=None): topics with fixed names that the test uses: created if "
    "missing, emptied around the test; and whose broker it gets"
)
LINES = (INTEGRATION, BERTH_PG, BERTH_REDIS, BERTH_KAFKA)


class PgMarker(NamedTuple):
    """What ``@pytest.mark.berth_pg`` says about a test."""

    isolation: str | None = None
    seed: Sequence[object] = ()


def berth_pg(*, isolation: str | None = None, seed: Sequence[object] = ()) -> PgMarker:
    """Take the arguments of ``@pytest.mark.berth_pg``.

    Args:
        isolation: ``auto``, ``rollback``, ``truncation``, ``database`` or ``none``.
        seed: Lines as in ``berth_pg_seed``, applied before the test and gone after it.
    """
    return PgMarker(isolation, [seed] if isinstance(seed, str) else seed)


class KafkaMarker(NamedTuple):
    """What ``@pytest.mark.berth_kafka`` says about a test."""

    topics: Sequence[str] = ()
    scope: str | None = None


def berth_kafka(*, topics: Sequence[str] = (), scope: str | None = None) -> KafkaMarker:
    """Take the arguments of ``@pytest.mark.berth_kafka``.

    Args:
        topics: Topics with fixed names, besides those of ``berth_kafka_topics``.
        scope: ``test`` for a broker of the test's own.
    """
    return KafkaMarker([topics] if isinstance(topics, str) else topics, scope)


def check(item: pytest.Item, registered: Collection[str]) -> None:
    """Check the names and arguments of a test's markers, whether it reaches a server or not.

    Args:
        item: The test.
        registered: Names of the markers that pytest knows.

    Raises:
        SettingsError: A marker looks like one of ours and is none, or has a wrong argument.
    """
    signatures = {each.__name__: each for each in (berth_pg, berth_redis, berth_kafka)}
    for mark in item.iter_markers():
        if mark.name in signatures:
            read(item, signatures[mark.name])
        elif mark.name.startswith("berth") and mark.name not in registered:
            raise SettingsError(
                f"there is no marker {mark.name!r}.",
                why=f"it is given at {item.nodeid}",
                remedy=nearest(mark.name, signatures),
            )


class RedisMarker(NamedTuple):
    """What ``@pytest.mark.berth_redis`` says about a test."""

    scope: str | None = None


def berth_redis(*, scope: str | None = None) -> RedisMarker:
    """Take the arguments of ``@pytest.mark.berth_redis``.

    Args:
        scope: ``test`` for a server of the test's own.
    """
    return RedisMarker(scope)


def read(item: pytest.Item, signature: Callable[..., Any]) -> dict[str, Any]:
    """Return the arguments of all of a test's markers of a name, the nearest first.

    Raises:
        SettingsError: Markers were given arguments that they do not have; it tells all of them.
    """
    import inspect

    name = signature.__name__
    known = inspect.signature(signature).parameters
    arguments: dict[str, Any] = {}
    problems = []
    for mark in item.iter_markers(name):
        problems += [
            SettingsError(
                f"@pytest.mark.{name} has no argument {argument!r}.",
                why=f"it is given at {item.nodeid}",
                remedy=nearest(argument, known),
            )
            for argument in mark.kwargs
            if argument not in known
        ]
        if mark.args:
            problem = SettingsError(
                f"@pytest.mark.{name} takes its arguments by name only.",
                why=f"{', '.join(map(repr, mark.args))} is given at {item.nodeid}",
                remedy=f"use {', '.join(f'{key}=...' for key in known)}",
            )
            problems.append(problem)
        arguments = {**mark.kwargs, **arguments}
    found = together(problems)
    if found:
        raise found
    return arguments
