"""What drivers of this process send to Postgres and MySQL: told to a recorder, with its line.

SQLAlchemy's statements are taken where its dialects hand them to a driver, whichever that is; what
it sends through a driver is not told again there. What is sent in C past these functions, such as
the BEGIN of a driver, cannot be seen.
"""

from __future__ import annotations

import sys
from contextlib import asynccontextmanager, contextmanager
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from pytest_berth.compat import psycopg2_private
from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from types import ModuleType

    from pytest_berth.isolation.application_lines import Line
    from pytest_berth.isolation.driver_hooks import Hooks
    from pytest_berth.isolation.recorder import Recorder

SERVICE, MYSQL = "postgres", "mysql"
# The services that statements are sent to, by the names of SQLAlchemy's dialects.
DIALECTS = {"postgresql": SERVICE, "mysql": MYSQL, "mariadb": MYSQL}


def _told(
    recorder: Recorder,
    line: Line,
    started: float,
    cursor: Any,
    given: tuple[Any, ...],
    error: BaseException | None = None,
    service: str = SERVICE,
) -> None:
    statement, *parameters = given or ("",)
    recorder.add(
        service,
        statement,
        line,
        started,
        connection=getattr(cursor, "connection", None),
        parameters=parameters[0] if parameters else None,
        rows=getattr(cursor, "rowcount", None),
        error=error,
    )


def _execute(original: Any, recorder: Recorder, service: str = SERVICE) -> Any:
    @wraps(original)
    def execute(cursor: Any, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        line = recorder.sender(sys._getframe(1), past_alchemy=False)
        if line is None:
            return original(cursor, *args, **options)
        given = args or tuple(options.values())
        started = now()
        try:
            result = original(cursor, *args, **options)
        except BaseException as error:
            _told(recorder, line, started, cursor, given, error, service)
            raise
        _told(recorder, line, started, cursor, given, None, service)
        return result

    return execute


def _execute_async(original: Any, recorder: Recorder, service: str = SERVICE) -> Any:
    @wraps(original)
    async def told(line: Line, cursor: Any, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        given = args or tuple(options.values())
        started = now()
        try:
            result = await original(cursor, *args, **options)
        except BaseException as error:
            _told(recorder, line, started, cursor, given, error, service)
            raise
        _told(recorder, line, started, cursor, given, None, service)
        return result

    return _with_line(original, recorder, told)


def _with_line(original: Any, recorder: Recorder, told: Callable[..., Any]) -> Any:
    """Return a function that hands over to *told*, with the line; of ours, to the original.

    It is never async itself: a task that runs it later would not have the line.
    """

    @wraps(original)
    def call(owner: Any, *args: Any, **options: Any) -> Any:
        line = recorder.sender(sys._getframe(1), past_alchemy=False)
        return (original if line is None else partial(told, line))(owner, *args, **options)

    return call


def _copy(original: Any, recorder: Recorder) -> Any:
    @contextmanager
    def told(line: Line, cursor: Any, *args: Any, **options: Any) -> Iterator[Any]:
        __tracebackhide__ = True
        started = now()
        try:
            with original(cursor, *args, **options) as copy:
                yield copy
        except BaseException as error:
            _told(recorder, line, started, cursor, args, error)
            raise
        _told(recorder, line, started, cursor, args)

    return _with_line(original, recorder, told)


def _copy_async(original: Any, recorder: Recorder) -> Any:
    @asynccontextmanager
    async def told(line: Line, cursor: Any, *args: Any, **options: Any) -> AsyncIterator[Any]:
        __tracebackhide__ = True
        started = now()
        try:
            async with original(cursor, *args, **options) as copy:
                yield copy
        except BaseException as error:
            _told(recorder, line, started, cursor, args, error)
            raise
        _told(recorder, line, started, cursor, args)

    return _with_line(original, recorder, told)


def _stream(original: Any, recorder: Recorder) -> Any:
    """Tell of a statement as its first row is asked for: it may never be read to its end."""

    @wraps(original)
    def stream(cursor: Any, *args: Any, **options: Any) -> Any:
        line = recorder.sender(sys._getframe(1), past_alchemy=False)
        if line is not None:
            _told(recorder, line, now(), None, args)
        return original(cursor, *args, **options)

    return stream


def _of_psycopg(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    for owner, execute, copy in (
        (module.Cursor, _execute, _copy),
        (module.AsyncCursor, _execute_async, _copy_async),
    ):
        yield owner, "execute", execute
        yield owner, "executemany", execute
        yield owner, "copy", copy
        yield owner, "stream", _stream
    yield module.ServerCursor, "execute", _execute
    yield module.AsyncServerCursor, "execute", _execute_async


def _of_psycopg2(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    """Give new connections cursors that tell: psycopg2's own, made in C, cannot be changed."""
    extensions = module.extensions

    def wrap(original: Any, recorder: Recorder) -> Any:
        names = ("execute", "executemany")
        methods = {name: _execute(getattr(extensions.cursor, name), recorder) for name in names}
        telling = type("cursor", (extensions.cursor,), {"__module__": "psycopg2", **methods})

        @wraps(original)
        def _connect(*args: Any, **options: Any) -> Any:
            connection = original(*args, **options)
            # Connections of other kinds may choose cursors by what stands there.
            if type(connection) is extensions.connection and connection.cursor_factory is None:
                connection.cursor_factory = telling
            return connection

        return _connect

    yield module, psycopg2_private.CONNECT, wrap


def _of_psycopg2_extras(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    for owner in (module.DictCursor, module.RealDictCursor, module.NamedTupleCursor):
        yield owner, "execute", _execute


def _fetch(original: Any, recorder: Recorder) -> Any:
    """Tell of a method of asyncpg's connections that takes a statement and its parameters."""

    @wraps(original)
    async def told(line: Line, connection: Any, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        tell = partial(
            recorder.add,
            SERVICE,
            args[0] if args else options.get("query", ""),
            line,
            now(),
            connection=connection,
            parameters=args[1:],
        )
        return await _fetched(tell, original(connection, *args, **options))

    return _with_line(original, recorder, told)


def _fetch_prepared(original: Any, recorder: Recorder) -> Any:
    """Tell of a method of asyncpg's prepared statements that takes the parameters."""

    @wraps(original)
    async def told(line: Line, prepared: Any, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        text, started = prepared.get_query(), now()
        tell = partial(recorder.add, SERVICE, text, line, started, parameters=args)
        return await _fetched(tell, original(prepared, *args, **options))

    return _with_line(original, recorder, told)


async def _fetched(tell: Callable[..., None], result: Any) -> Any:
    __tracebackhide__ = True
    try:
        rows = await result
    except BaseException as error:
        tell(error=error)
        raise
    if isinstance(rows, list):
        tell(rows=len(rows))
    else:
        # What execute() returns: "INSERT 0 1".
        *_, last = (rows if isinstance(rows, str) else "").split(" ")
        tell(rows=int(last) if last.isdecimal() else None)
    return rows


def _of_asyncpg(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    for name in ("execute", "executemany", "fetch", "fetchval", "fetchrow", "fetchmany"):
        if name in vars(module.Connection):
            yield module.Connection, name, _fetch


def _of_prepared_asyncpg(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    for name in ("executemany", "fetch", "fetchval", "fetchrow", "fetchmany"):
        if name in vars(module.PreparedStatement):
            yield module.PreparedStatement, name, _fetch_prepared


def _of_sqlalchemy(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    yield module.DefaultDialect, "do_execute", _by_dialect
    yield module.DefaultDialect, "do_executemany", _by_dialect
    yield module.DefaultDialect, "do_execute_no_params", _by_dialect


def _of_sqlalchemy_mysql(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    yield module.MySQLDialect_mysqldb, "do_executemany", _by_dialect


def _of_sqlalchemy_psycopg2(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    yield module.PGDialect_psycopg2, "do_executemany", _by_dialect


def _by_dialect(original: Any, recorder: Recorder) -> Any:
    @wraps(original)
    def do_execute(dialect: Any, cursor: Any, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        service = DIALECTS.get(dialect.name, "")
        line = recorder.sender(sys._getframe(1)) if service else None
        if line is None:
            return original(dialect, cursor, *args, **options)
        # Statement, parameters where there are any, and SQLAlchemy's context.
        given = args[:2] if len(args) > 2 or "context" in options else args[:1]
        started = now()
        try:
            result = original(dialect, cursor, *args, **options)
        except BaseException as error:
            _told(recorder, line, started, cursor, given, error, service)
            raise
        _told(recorder, line, started, cursor, given, None, service)
        return result

    return do_execute


def _of_pymysql(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    """Watch `execute` only: `executemany` calls it."""
    yield module.Cursor, "execute", partial(_execute, service=MYSQL)


def _of_aiomysql(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    yield module.Cursor, "execute", partial(_execute_async, service=MYSQL)


HOOKS: Hooks = {
    "psycopg": _of_psycopg,
    "psycopg2": _of_psycopg2,
    "psycopg2.extras": _of_psycopg2_extras,
    "asyncpg.connection": _of_asyncpg,
    "asyncpg.prepared_stmt": _of_prepared_asyncpg,
    "sqlalchemy.engine.default": _of_sqlalchemy,
    "sqlalchemy.dialects.postgresql.psycopg2": _of_sqlalchemy_psycopg2,
    "pymysql.cursors": _of_pymysql,
    "aiomysql.cursors": _of_aiomysql,
    "sqlalchemy.dialects.mysql.mysqldb": _of_sqlalchemy_mysql,
}
