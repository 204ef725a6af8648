"""The private names of other packages that berth needs are still there."""

from __future__ import annotations

import asyncio
import functools
import gc
import importlib
import inspect
import re
import socket
import threading
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiomysql
import asyncpg
import factory
import pika.connection
import psycopg
import psycopg2.pool
import pymongo
import pymysql
import pytest
import redis.asyncio
import sqlalchemy
from asyncpg import connect_utils
from django.db.transaction import Atomic
from django.test import TransactionTestCase
from pika import BlockingConnection
from psycopg.adapt import AdaptersMap
from sqlalchemy.orm import Session

from pytest_berth import compat
from pytest_berth.compat import (
    aiohttp_private,
    aiomysql_private,
    asyncio_private,
    asyncpg_private,
    django_private,
    factory_boy_private,
    kafka_private,
    psycopg2_private,
    psycopg_private,
    pymongo_private,
    pymysql_private,
    pytest_private,
    redis_private,
    sqlalchemy_private,
    testcontainers_private,
)
from pytest_berth.isolation import fixture_layers
from pytest_berth.services.kafka.kafka_python import KafkaConsumer, KafkaProducer


@pytest.fixture
def given() -> str:
    return "given"


@pytest.fixture(scope="module")
def reader(request: pytest.FixtureRequest) -> pytest.Item:
    return pytest_private.item_of(request)


def test_a_project_s_configuration_is_read_without_its_conftest_and_plugins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\npythonpath = src\nmine = 1\naddopts = -n 4 --cov=x -o mine=2 -p absent.plugin\n"
    )
    (tmp_path / "conftest.py").write_text("raise RuntimeError")
    (tmp_path / "tests").mkdir()
    monkeypatch.setenv("PYTEST_ADDOPTS", "-o 'theirs=a b'")

    def add_options(parser: pytest.Parser) -> None:
        parser.addini("mine", "")
        parser.addini("theirs", "")

    place = str(tmp_path / "tests")
    config = pytest_private.config_of_project(["-o", "mine=3", place], add_options)

    assert (config.rootpath, config.inipath) == (tmp_path, tmp_path / "pytest.ini")
    assert (config.getini("mine"), config.getini("theirs")) == ("3", "a b")
    assert config.getini("pythonpath") == [tmp_path / "src"]
    assert config.known_args_namespace.override_ini == ["mine=2", "theirs=a b", "mine=3"]


def test_fixture_definitions_of_pytest(request: pytest.FixtureRequest, given: str) -> None:
    info = pytest_private.fixture_info(request.node)
    assert "given" in info.initialnames
    assert "given" in pytest_private.active_fixtures(request.node)
    (definition,) = pytest_private.definitions(request.node, "given")
    assert [*info.name2fixturedefs["given"]] == [definition]
    assert (definition.argname, definition.scope, definition.argnames) == ("given", "function", ())
    pytest_private.set_definitions(request.node, {"given": [definition]})
    assert pytest_private.fixture_info(request.node).name2fixturedefs == {"given": [definition]}
    assert pytest_private.definitions(request.node, "there_is_none") == ()


@pytest.mark.parametrize("value", [1])
def test_fixtures_that_run_code_of_the_suite(
    request: pytest.FixtureRequest, given: str, value: int, tmp_path: Path
) -> None:
    info = pytest_private.fixture_info(request.node)
    told = {
        name: pytest_private.runs_suite(info.name2fixturedefs[name][-1])
        for name in ("value", "tmp_path", "given")
    }
    assert told == {"value": False, "tmp_path": False, "given": True}
    nameless = SimpleNamespace(func=functools.partial(len))
    nameless.func.__module__ = None
    assert pytest_private.runs_suite(nameless)


def test_the_test_that_pytest_sets_a_fixture_up_for(
    request: pytest.FixtureRequest, reader: pytest.Item
) -> None:
    assert reader is request.node


def test_settings_capture_and_terminal_of_pytest(pytestconfig: pytest.Config) -> None:
    assert "testpaths" in pytest_private.ini_values(pytestconfig)
    manager = pytestconfig.pluginmanager
    capture = manager.get_plugin("capturemanager")
    assert hasattr(capture, "_global_capturing")
    assert isinstance(pytest_private.is_capturing(capture), bool)
    from _pytest.terminal import TerminalReporter  # pytest 8.2 has no public name for it

    reporter = TerminalReporter(pytestconfig)
    assert not pytest_private.is_within_line(reporter)


def test_skips_of_pytest(request: pytest.FixtureRequest) -> None:
    assert not pytest_private.is_skipped(request.node)
    request.node.add_marker(pytest.mark.skip)
    assert pytest_private.is_skipped(request.node)


def test_connections_of_psycopg() -> None:
    (kind,) = psycopg_private.connecting(psycopg)
    assert inspect.isgeneratorfunction(getattr(kind, psycopg_private.CONNECT))
    one, other = _unconnected_of_psycopg(), _unconnected_of_psycopg()
    assert {*psycopg_private.handlers(one)} == {"_notice_handlers", "_notify_handlers"}
    one.add_notify_handler(print)
    one.add_notice_handler(print)
    assert [*psycopg_private.handlers(one).values()] == [(print,), (print,)]
    psycopg_private.set_handlers(one, psycopg_private.handlers(other))
    assert [*psycopg_private.handlers(one).values()] == [(), ()]
    adapters = AdaptersMap(one.adapters)
    psycopg_private.set_adapters(one, adapters)
    assert one.adapters is adapters
    statements = one._prepared
    psycopg_private.share_statements(other, one)
    assert other._prepared is statements
    psycopg_private.forget_statements(one)
    assert type(one._prepared) is type(statements)
    assert one._prepared is not statements


def _unconnected_of_psycopg() -> psycopg.Connection:
    connection = psycopg.Connection(psycopg.pq.PGconn.connect_start(b"host=/there/is/none"))
    connection.pgconn.finish()
    return connection


def test_psycopg2() -> None:
    assert callable(getattr(psycopg2, psycopg2_private.CONNECT))
    pool = psycopg2.pool.AbstractConnectionPool(0, 1)
    idle, kept = _Idle(), _Idle()
    pool._pool += [idle, kept]
    psycopg2_private.close_idle(pool, lambda each: each is idle)
    assert pool._pool == [kept]
    assert (idle.closed, kept.closed) == (True, False)
    assert hasattr(psycopg2.pool.ThreadedConnectionPool(0, 1), "_lock")


class _Idle:
    closed = False

    def close(self) -> None:
        self.closed = True


def test_asyncpg() -> None:
    assert inspect.iscoroutinefunction(getattr(connect_utils, asyncpg_private.CONNECT))
    assert {"_addr", "_params", "_loop", "_transport"} <= {*asyncpg.Connection.__slots__}
    assert "database" in connect_utils._ConnectionParameters._fields


def test_transports_of_asyncio_whose_loop_is_closed() -> None:
    here, there = socket.socketpair()
    with closing(there):
        loop = asyncio.new_event_loop()
        transport, _ = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=here))
        loop.close()
        asyncio_private.abort(transport)
        assert there.recv(1) == b""


def test_sqlalchemy() -> None:
    engine = sqlalchemy.create_engine("sqlite://")
    with Session(engine) as session:
        assert sqlalchemy_private.connections(session) == set()
        assert sqlalchemy_private.connections(session) | {session.connection()} == (
            sqlalchemy_private.connections(session)
        )
    with sqlalchemy_private.unconnected(engine) as connection:
        assert connection.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
    assert issubclass(sqlalchemy_private.pool_entries(), sqlalchemy.pool.ConnectionPoolEntry)
    statement = sqlalchemy.DDL("SELECT 1").execute_if(callable_=_yes)
    assert sqlalchemy_private.condition(statement).callable_ is _yes
    assert sqlalchemy_private.condition(sqlalchemy.DDL("SELECT 1")) is None
    engine.dispose()


def _yes(*_: object, **__: object) -> bool:
    return True


def test_connections_of_redis_pools_that_are_in_use() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        address = {"host": "127.0.0.1", "port": server.getsockname()[1]}
        for kind in (redis.ConnectionPool, redis.BlockingConnectionPool):
            pool = kind(**address)
            connection = pool.make_connection()
            assert redis_private.local_port(connection) == 0
            connection._sock = socket.create_connection(server.getsockname())
            assert redis_private.local_port(connection) == connection._sock.getsockname()[1]
            connection.disconnect()
        assert redis_private.in_use(pool) == [connection]
        pool.pool.get_nowait()
        pool.pool.put_nowait(connection)
        assert redis_private.in_use(pool) == []


def test_redis() -> None:
    pool = redis.asyncio.ConnectionPool()
    assert (pool._available_connections, pool._in_use_connections) == ([], set())
    assert redis_private.idle(redis.ConnectionPool()) == redis_private.in_use(pool) == []
    assert hasattr(redis.ConnectionPool(), "_available_connections")
    client, kept = redis.Redis(), redis.ConnectionPool()
    other = redis_private.another(client, kept)
    assert vars(other).keys() == vars(client).keys()
    assert other.connection_pool is kept
    assert other.response_callbacks == client.response_callbacks
    assert other.response_callbacks is not client.response_callbacks
    connection = redis.Connection()
    state = redis_private.state(connection)
    assert state == redis_private.state(connection)
    connection.encoder.decode_responses = True
    assert state != redis_private.state(connection)
    classes = redis_private.classes(kept, connection)
    for patched in (redis.ConnectionPool, redis.Connection, type(connection.encoder)):
        assert redis_private.are_unchanged(classes, kept)
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setattr(patched, "__init__", _yes)
            assert not redis_private.are_unchanged(classes, kept)
    assert not redis_private.are_unchanged(classes, redis.BlockingConnectionPool())
    redis_private.give(kept, "connection")
    assert redis_private.take_idle(kept) == ["connection"]
    assert redis_private.take_idle(kept) == []
    assert hasattr(redis.Connection(), "_sock")
    assert not redis_private.is_connected(redis.Connection())
    opened = redis.asyncio.Connection()
    assert (opened._writer, opened._reader) == (None, None)
    redis_private.abort(opened)


def test_pymongo() -> None:
    """A client that was never used, and one that is closed already."""
    client: pymongo.AsyncMongoClient[dict[str, Any]] = pymongo.AsyncMongoClient(connect=False)
    assert client._closed is False
    pymongo_private.abandon(client)
    assert client._topology is None or client._closed
    pymongo_private.abandon(client)
    places = {
        "mongo_client": ("self._kill_cursors_executor", "self._topology.pop_all_sessions()"),
        "topology": ("self._servers.values()",),
        "server": ("self._monitor = ", "self._pool = "),
        "monitor": ("self._executor = ", "self._pool = ", "self._rtt_monitor = "),
        "pool": ("in self.conns",),
    }
    for module, names in places.items():
        source = inspect.getsource(importlib.import_module(f"pymongo.asynchronous.{module}"))
        assert [name for name in names if name not in source] == []


def test_pymysql() -> None:
    connection = pymysql.connect(read_timeout=30, defer_connect=True)
    with pymysql_private.answers_within(connection, 1):
        assert vars(connection)["_read_timeout"] == 1
    assert vars(connection)["_read_timeout"] == 30
    assert "settimeout(self._read_timeout)" in inspect.getsource(pymysql.connections)
    assert vars(connection).keys() >= {"charset", "collation", "autocommit_mode"}
    assert callable(connection._execute_command)
    assert callable(connection._read_ok_packet)


def test_aiomysql() -> None:
    source = inspect.getsource(aiomysql.Connection)
    assert "self._reader, self._writer = await" in source
    assert "return self._writer is None" in source
    connection = SimpleNamespace(_writer=SimpleNamespace(transport="transport"))
    assert aiomysql_private.transport(connection) == "transport"
    aiomysql_private.forget_transport(connection)
    assert aiomysql_private.transport(connection) is None


def test_kafka_python() -> None:
    for client in (KafkaProducer, KafkaConsumer):
        assert "self._closed = False" in inspect.getsource(client.__init__)
    source = inspect.getsource(KafkaProducer.__init__)
    assert "self._sender = Sender(" in source
    assert "self._sender.start()" in source
    assert not kafka_private.is_closed(object())


def test_pika() -> None:
    assert "self._impl = " in inspect.getsource(BlockingConnection.__init__)
    assert "self.server_properties = " in inspect.getsource(pika.connection.Connection)


def test_the_fixture_of_pytest_django_that_begins_with_each_test_is_known_to_write_nothing(
    request: pytest.FixtureRequest,
) -> None:
    pytest.importorskip("pytest_django")
    info: Any = pytest_private.fixture_info(request.node)
    (autouse,) = info.name2fixturedefs["_django_setup_unittest"]
    assert autouse.scope == "class"
    assert fixture_layers.is_inert(autouse)
    made_by = importlib.import_module("pytest_django.fixtures").django_db_setup.__module__
    assert not fixture_layers.is_inert(SimpleNamespace(func=SimpleNamespace(__module__=made_by)))


def test_django_and_testcontainers() -> None:
    from testcontainers.core.container import Reaper

    block = Atomic(None, True, False)
    assert block._from_testcase is False
    assert not django_private.is_of_test_case(block)
    with pytest.raises(Exception, match="settings are not configured"):
        django_private.migrations_module("auth")
    assert list(django_private.receivers_of_migrate()) == []
    reset = vars(TransactionTestCase)["_reset_sequences"]
    undo = django_private.leave_sequences({"ours"})
    TransactionTestCase._reset_sequences("ours")
    undo()
    assert vars(TransactionTestCase)["_reset_sequences"] is reset
    assert hasattr(Reaper, "_container")
    assert callable(testcontainers_private.reaper_container)


def test_sequences_of_factory_boy() -> None:
    class Parent(factory.Factory):  # type: ignore[misc]
        class Meta:
            model = dict

        number = factory.Sequence(lambda n: n)

    class Child(Parent):
        pass

    options = Child._meta
    assert factory_boy_private.first_factory(options) is Parent._meta
    assert factory_boy_private.sequence(options) is None
    assert [Child()["number"] for _ in range(2)] == [0, 1]
    assert factory_boy_private.sequence(options) == 2
    factory_boy_private.set_sequence(options, 1)
    assert Parent()["number"] == 1
    for each in (Parent, Child):
        factory_boy_private.set_sequence(each._meta, None)
    assert Child()["number"] == 0


def test_there_is_no_other_home_of_such_names() -> None:
    """Ruff's SLF holds it for attributes; this is for names that are given as texts."""
    home = Path(compat.__file__).parent
    names = {
        name
        for name in re.findall(r"\b_[a-z]\w+", " ".join(p.read_text() for p in home.glob("*.py")))
        if not name.startswith("__")
    }
    assert {"_fixtureinfo", "_notify_handlers", "_sock"} <= names
    elsewhere = [
        f"{path.relative_to(home.parent)}: {name}"
        for path in home.parent.rglob("*.py")
        if path.parent != home
        for name in re.findall(r"[\"'](_[a-z]\w+)[\"']", path.read_text())
        if name in names
    ]
    assert elsewhere == []


def test_where_sqlalchemy_connects_and_loads_relationships() -> None:
    base = sqlalchemy.orm.declarative_base()

    class Parent(base):  # type: ignore[misc,valid-type]
        __tablename__ = "parent"
        id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
        children = sqlalchemy.orm.relationship("Child")

    class Child(base):  # type: ignore[misc,valid-type]
        __tablename__ = "child"
        id = sqlalchemy.Column(sqlalchemy.Integer, primary_key=True)
        parent = sqlalchemy.Column(sqlalchemy.ForeignKey(Parent.id))

    engine = sqlalchemy.create_engine("sqlite://")
    found = []

    @sqlalchemy.event.listens_for(engine, "before_cursor_execute")
    def look(*_: object) -> None:
        frame = inspect.currentframe()
        while frame:
            if frame.f_code.co_filename.endswith(sqlalchemy_private.LOADING):
                found.append(sqlalchemy_private.loaded_relationship(frame))
            frame = frame.f_back

    base.metadata.create_all(engine)
    with Session(engine) as session:
        session.add(Parent())
        session.commit()
        assert session.query(Parent).one().children == []
    engine.dispose()
    assert "Parent.children" in found
    setting_up = importlib.import_module("sqlalchemy.engine.create")
    assert str(setting_up.__file__).endswith(sqlalchemy_private.SETTING_UP)
    assert sqlalchemy_private.PACKAGE in str(setting_up.__file__)
    assert f"def {sqlalchemy_private.CONNECTING}(" in inspect.getsource(setting_up)


def test_aiohttp_s_connections_are_dropped_when_their_loop_is_closed() -> None:
    aiohttp = pytest.importorskip("aiohttp")

    def answer(listener: socket.socket, kept: list[socket.socket]) -> None:
        kept.append(listener.accept()[0])
        kept[0].recv(4096)
        kept[0].sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def connected(port: int) -> Any:
        session = aiohttp.ClientSession()
        async with session.get(f"http://127.0.0.1:{port}/") as response:
            assert response.status == 200
        return session

    with socket.create_server(("127.0.0.1", 0)) as listener:
        kept: list[socket.socket] = []
        answering = threading.Thread(target=answer, args=(listener, kept))
        answering.start()
        session = asyncio.run(connected(listener.getsockname()[1]))
        answering.join()
    assert session.connector._conns

    aiohttp_private.abort(session)
    aiohttp_private.abort(None)

    assert session.closed
    with kept[0] as other_side:
        assert other_side.recv(1) == b""
    del session
    gc.collect()  # what is left open is warned of, and warnings are errors here
