"""Where the drivers of this process connect to: told at each connection, while somebody watches.

What differs from one driver to the next is here; their private names are in `compat`. They are in
one table of drivers, not brought by services, as they are the application's: it may use several for
one service, and others than the service does itself, such as psycopg2, asyncpg or aiokafka. Drivers
of services that other distributions add are not watched.
Connections of confluent-kafka, and of others whose work is done in C, cannot be seen.
"""

from __future__ import annotations

import sys
from functools import lru_cache, wraps
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from pytest_berth.compat import (
    asyncio_private,
    asyncpg_private,
    kafka_private,
    psycopg2_private,
    psycopg_private,
    redis_private,
)
from pytest_berth.isolation.application_lines import Line, is_library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import TypeAlias

    # Of a driver's module: the owner of each function to be replaced, its name, and what makes
    # the new one of the original and of what is to be told.
    Hooks: TypeAlias = Mapping[str, Callable[[ModuleType], Iterator[tuple[Any, str, Any]]]]

_OURS = "pytest_berth."
# What is noted of a connection of SQLAlchemy's pools.
_PLACE = "pytest_berth.place"


class Place(NamedTuple):
    """What a connection leads to: a server, by all names that are known of it, and a database."""

    service: str
    hosts: tuple[str, ...]
    port: int
    database: str = ""

    def __str__(self) -> str:
        database = f", database {self.database!r}" if self.database else ""
        return f"{self.service} at {self.hosts[0]}:{self.port}{database}"


class Watch:
    """Replaces functions of the drivers by such that tell what they do, from start until end.

    Args:
        seen: What is told: by default the place of each connection; an exception of its closes it.
        hooks: What is replaced, by the names of the drivers' modules.

    Attributes:
        is_on: Whether it watches; what another one has replaced in its turn outlives `stop`.
    """

    def __init__(self, seen: Any, hooks: Hooks | None = None) -> None:
        self.seen = seen
        self.is_on = False
        self._hooks = HOOKS if hooks is None else hooks
        self._loaded: list[ModuleType | None] = []
        self._replaced: dict[tuple[Any, str], tuple[Any, Any]] = {}

    def start(self) -> None:
        """Watch the drivers that are loaded by now; may be called again for further ones."""
        self.is_on = True
        loaded = [sys.modules.get(name) for name in self._hooks]
        # Most tests import no driver.
        if loaded != self._loaded:
            self._loaded = loaded if self._replace() else []

    def _replace(self) -> bool:
        """Replace functions; tell whether that is all, as a thread may be importing a driver."""
        is_all = True
        for name, hooks in self._hooks.items():
            module = sys.modules.get(name)
            if getattr(getattr(module, "__spec__", None), "_initializing", False):
                is_all = False
                continue
            for owner, attribute, wrap in hooks(module) if module else ():
                if (owner, attribute) not in self._replaced:
                    original = vars(owner)[attribute]
                    new = wrap(original, self.seen)
                    if asyncio_private.is_coroutine_function(original):
                        new = asyncio_private.marked_as_coroutine(new)
                    setattr(owner, attribute, new)
                    self._replaced[owner, attribute] = original, new
        return is_all

    def stop(self) -> None:
        """Watch no more; what somebody else has replaced meanwhile is left to him."""
        self.is_on = False
        self._loaded = []
        while self._replaced:
            (owner, attribute), (original, new) = self._replaced.popitem()
            if vars(owner)[attribute] is new:
                setattr(owner, attribute, original)


def held_by_modules() -> Iterator[tuple[Place, Line]]:
    """Yield what modules of the application, and objects there, hold open connections to."""
    for module_name in list(sys.modules):
        path = _path_in_application(module_name)
        if path:
            for name, value in list(vars(sys.modules[module_name]).items()):
                for place in _opened(value):
                    yield place, Line(path, 0, name)


def _path_in_application(module_name: str) -> str:
    """Return the path of a module, empty for one of a library's, of ours, and for what is none."""
    module = sys.modules.get(module_name)
    # By its type: an object may do something when it is asked for an attribute.
    if module_name.startswith(_OURS) or not issubclass(type(module), ModuleType):
        return ""
    path = str(vars(module).get("__file__") or "<")
    return "" if is_library(path) else path


def _opened(value: object) -> Iterator[Place]:
    """Yield where an object is connected to, and the attributes of one of the application's."""
    *kinds, _ = type(value).__mro__
    is_plain = kinds and all(_path_in_application(kind.__module__) for kind in kinds)
    for each in (
        value,
        *(list(vars(value).values()) if is_plain and hasattr(value, "__dict__") else ()),
    ):
        names = {f"{kind.__module__}.{kind.__name__}" for kind in type(each).__mro__}
        for name in names & _OPENED.keys():
            yield from _OPENED[name](each)


def of_postgres(connection: Any) -> Place | None:
    """Return the place of a connection of psycopg, psycopg2 or asyncpg."""
    info = getattr(connection, "info", None)
    if info is not None and hasattr(info, "dbname"):
        hosts = (info.host, getattr(info, "hostaddr", ""))
        return Place("postgres", _names(hosts), int(info.port), info.dbname)
    address = asyncpg_private.address(connection)
    if address is None:
        return None
    if isinstance(address, str):  # of a socket: /directory/.s.PGSQL.5432
        directory, _, port = address.rpartition("/.s.PGSQL.")
        address = directory, port
    database = asyncpg_private.database(connection)
    return Place("postgres", _names(address[:1]), int(address[1]), database)


def _names(hosts: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, hosts))) or ("localhost",)


def of_mysql(connection: Any) -> Place | None:
    """Return the place of a connection of PyMySQL or aiomysql; None of a connection of another."""
    if not type(connection).__mro__[-2].__module__.startswith(("pymysql.", "aiomysql.")):
        return None
    database = connection.db or ""
    name = database.decode() if isinstance(database, bytes) else database
    return Place("mysql", _names([connection.host]), int(connection.port), name)


def _tell(connection: Any, seen: Callable[[Place], None], close: Callable[[], Any]) -> None:
    _tell_place(of_postgres(connection) or of_mysql(connection), seen, close)


def _tell_place(
    place: Place | None, seen: Callable[[Place], None], close: Callable[[], Any]
) -> None:
    try:
        if place:
            seen(place)
    except BaseException:
        close()
        raise


def _of_psycopg(module: ModuleType) -> Iterator[Any]:
    def wrap(original: Any, seen: Callable[[Place], None]) -> Any:
        @wraps(original.__func__)
        def _connect_gen(cls: Any, *args: Any, **options: Any) -> Any:
            connection = yield from original.__get__(None, cls)(*args, **options)
            _tell(connection, seen, connection.pgconn.finish)
            return connection

        return classmethod(_connect_gen)

    for owner in psycopg_private.connecting(module):
        yield owner, psycopg_private.CONNECT, wrap


def _of_psycopg_pool(module: ModuleType) -> Iterator[Any]:
    def wrap(original: Any, seen: Callable[[Place], None]) -> Any:
        @wraps(original)
        def getconn(pool: Any, *args: Any, **options: Any) -> Any:
            connection = original(pool, *args, **options)
            _tell(connection, seen, lambda: pool.putconn(connection))
            return connection

        return getconn

    def wrap_async(original: Any, seen: Callable[[Place], None]) -> Any:
        @wraps(original)
        async def getconn(pool: Any, *args: Any, **options: Any) -> Any:
            connection = await original(pool, *args, **options)
            try:
                _tell(connection, seen, lambda: None)
            except BaseException:
                await pool.putconn(connection)
                raise
            return connection

        return getconn

    yield module.ConnectionPool, "getconn", wrap
    yield module.AsyncConnectionPool, "getconn", wrap_async


def _of_psycopg2(module: ModuleType) -> Iterator[Any]:
    def wrap(original: Any, seen: Callable[[Place], None]) -> Any:
        @wraps(original)
        def _connect(*args: Any, **options: Any) -> Any:
            connection = original(*args, **options)
            _tell(connection, seen, connection.close)
            return connection

        return _connect

    yield module, psycopg2_private.CONNECT, wrap


def _of_asyncpg(module: ModuleType) -> Iterator[Any]:
    def wrap(original: Any, seen: Callable[[Place], None]) -> Any:
        @wraps(original)
        async def _connect(*args: Any, **options: Any) -> Any:
            connection = await original(*args, **options)
            _tell(connection, seen, connection.terminate)
            return connection

        return _connect

    yield module, asyncpg_private.CONNECT, wrap


def _of_pymysql(module: ModuleType) -> Iterator[Any]:
    def wrap(original: Any, seen: Callable[[Place], None]) -> Any:
        @wraps(original)
        def connect(connection: Any, *args: Any, **options: Any) -> None:
            original(connection, *args, **options)
            _tell(connection, seen, connection.close)

        return connect

    yield module.Connection, "connect", wrap


def _of_sqlalchemy(module: ModuleType) -> Iterator[Any]:
    """Watch what is taken from pools: connections that were opened before the test, too."""

    def wrap(original: Any, seen: Callable[[Place], None]) -> Any:
        @wraps(original)
        def connect(pool: Any, *args: Any, **options: Any) -> Any:
            taken = original(pool, *args, **options)
            place = taken.info.get(_PLACE)
            if place is None:
                # Named so since SQLAlchemy 1.4.24.
                connection = getattr(taken, "dbapi_connection", None) or taken.connection
                # An async driver's connection is wrapped.
                connection = getattr(connection, "driver_connection", connection)
                place = of_postgres(connection) or of_mysql(connection)
                taken.info[_PLACE] = place  # ends with the connection
            _tell_place(place, seen, taken.close)
            return taken

        return connect

    yield module.Pool, "connect", wrap


def _of_redis(module: ModuleType) -> Iterator[Any]:
    def wrap(original: Any, seen: Callable[[Place], None]) -> Any:
        @wraps(original)
        def connect(connection: Any, *args: Any, **options: Any) -> Any:
            result = original(connection, *args, **options)
            try:
                seen(_redis_place(connection))
            except BaseException:
                connection.disconnect()
                raise
            return result

        return connect

    yield module.AbstractConnection, "connect", wrap


def _of_async_redis(module: ModuleType) -> Iterator[Any]:
    def wrap(original: Any, seen: Callable[[Place], None]) -> Any:
        @wraps(original)
        async def connect(connection: Any, *args: Any, **options: Any) -> Any:
            result = await original(connection, *args, **options)
            try:
                seen(_redis_place(connection))
            except BaseException:
                await connection.disconnect()
                raise
            return result

        return connect

    yield module.AbstractConnection, "connect", wrap


def _redis_place(connection: Any) -> Place:
    host = getattr(connection, "host", None) or getattr(connection, "path", "")
    return _redis_at(host, getattr(connection, "port", 0) or 0)


@lru_cache(maxsize=100)
def _redis_at(host: str, port: int | str) -> Place:
    """Return a place; cached, as redis-py connects, or makes sure of it, for each command."""
    return Place("redis", _names([host]), int(port))


def _opened_postgres(connection: Any) -> Iterator[Place]:
    # asyncpg's tells it by a method.
    is_closed = connection.is_closed() if hasattr(connection, "is_closed") else connection.closed
    place = None if is_closed else of_postgres(connection)
    if place:
        yield place


def _opened_mysql(connection: Any) -> Iterator[Place]:
    place = of_mysql(connection) if connection.open else None
    if place:
        yield place


def _opened_redis(client: Any) -> Iterator[Place]:
    # A client that only pretends, such as fakeredis', has connections of its own kind.
    for connection in redis_private.idle(client.connection_pool):
        if type(connection).__module__.startswith("redis."):
            yield _redis_place(connection)


def _opened_kafka(client: Any) -> Iterator[Place]:
    if not kafka_private.is_closed(client):
        yield from _brokers(client.config["bootstrap_servers"] or ())


def _of_kafka_python(module: ModuleType) -> Iterator[Any]:
    """Watch clients as they are made: they connect in threads of their own."""

    def wrap(original: Any, seen: Callable[[Place], None]) -> Any:
        @wraps(original)
        def initialize(manager: Any, *args: Any, **options: Any) -> None:
            for place in _brokers(options.get("bootstrap_servers") or ()):
                seen(place)
            original(manager, *args, **options)

        return initialize

    yield module.KafkaConnectionManager, "__init__", wrap


def _of_aiokafka(module: ModuleType) -> Iterator[Any]:
    def wrap(original: Any, seen: Callable[[Place], None]) -> Any:
        @wraps(original)
        async def bootstrap(client: Any, *args: Any, **options: Any) -> Any:
            for host, port, *_ in client.hosts:
                seen(Place("kafka", (host,), int(port)))
            return await original(client, *args, **options)

        return bootstrap

    yield module.AIOKafkaClient, "bootstrap", wrap


def _brokers(servers: str | Iterable[str]) -> Iterator[Place]:
    for server in servers.split(",") if isinstance(servers, str) else servers:
        host, _, port = server.rpartition("://")[2].rpartition(":")
        yield Place("kafka", (host or port,), int(port) if host else 9092)


HOOKS: dict[str, Callable[[ModuleType], Iterator[Any]]] = {
    "psycopg": _of_psycopg,
    "psycopg_pool": _of_psycopg_pool,
    "psycopg2": _of_psycopg2,
    "asyncpg.connect_utils": _of_asyncpg,
    "sqlalchemy.pool": _of_sqlalchemy,
    "pymysql.connections": _of_pymysql,
    "redis.connection": _of_redis,
    "redis.asyncio.connection": _of_async_redis,
    "kafka.net.manager": _of_kafka_python,
    "aiokafka.client": _of_aiokafka,
}
# What is connected as soon as it is there, or keeps connections for its next use.
_OPENED: dict[str, Callable[[Any], Iterator[Place]]] = {
    "psycopg.Connection": _opened_postgres,
    "psycopg.AsyncConnection": _opened_postgres,
    "psycopg2.extensions.connection": _opened_postgres,
    "asyncpg.connection.Connection": _opened_postgres,
    "pymysql.connections.Connection": _opened_mysql,
    "redis.client.Redis": _opened_redis,
    "redis.asyncio.client.Redis": _opened_redis,
    "kafka.producer.kafka.KafkaProducer": _opened_kafka,
    "kafka.consumer.group.KafkaConsumer": _opened_kafka,
}
