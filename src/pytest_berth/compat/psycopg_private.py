"""psycopg's private names: what a connection has noted beside what the server knows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from typing import TypeAlias

    import psycopg
    from psycopg.adapt import AdaptersMap

    AnyConnection: TypeAlias = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]

# The method of a class that connects, for each way of connecting.
CONNECT = "_connect_gen"
# What is told of notices, and of notifications.
_HANDLERS = ("_notice_handlers", "_notify_handlers")


def handlers(connection: AnyConnection) -> Mapping[str, Collection[object]]:
    """Return what a connection tells of notices and notifications."""
    return {name: tuple(getattr(connection, name)) for name in _HANDLERS}


def set_handlers(connection: AnyConnection, handlers: Mapping[str, Collection[object]]) -> None:
    """Let a connection tell these, and no others, of notices and notifications."""
    for name, given in handlers.items():
        getattr(connection, name)[:] = given


def set_adapters(connection: AnyConnection, adapters: AdaptersMap) -> None:
    """Let a connection convert types so."""
    connection._adapters = adapters


def forget_statements(connection: AnyConnection) -> None:
    """Let a connection forget its prepared statements, which were deallocated past psycopg.

    Not by psycopg's ``clear()``: that would send DEALLOCATE ALL beside the next statement, which
    may be a PREPARE.
    """
    connection._prepared = type(connection._prepared)()


def share_statements(connection: AnyConnection, other: AnyConnection) -> None:
    """Let a connection know the prepared statements of another one on the same session."""
    connection._prepared = other._prepared


def connecting(module: Any) -> Iterator[type]:
    """Yield the class that has the method `CONNECT`."""
    yield next(each for each in module.Connection.__mro__ if CONNECT in vars(each))
