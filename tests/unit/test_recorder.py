"""The recorder keeps little, shows no secrets, and whatever it is given does no harm."""

from __future__ import annotations

import asyncio
import datetime
import gc
import inspect
import sys
import weakref
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
import pytest
import redis.asyncio

from pytest_berth.isolation import (
    driver_hooks,
    recorded_lines,
    redis_hooks,
    repeated_statements,
    statement_hooks,
)
from pytest_berth.isolation.application_lines import Line, caller
from pytest_berth.isolation.recorder import Recorder

if TYPE_CHECKING:
    from pytest_berth.isolation.recorder import Record

LINE = Line("/project/app.py", 7, "f")


@pytest.fixture
def recorder() -> Recorder:
    return Recorder({})


def add(recorder: Recorder, text: object, parameters: object = None, **given: Any) -> None:
    recorder.add("postgres", text, LINE, 0.0, parameters=parameters, **given)


def shown(recorder: Recorder) -> list[str]:
    """Return what is shown of each statement, after its line."""
    told = recorded_lines.lines(recorder.records("postgres"), Path("/project"))
    return [line.partition("app.py:7  ")[2] for line in told]


def sent(*texts: str, **parameters: object) -> list[Record]:
    recorder = Recorder({})
    for number, text in enumerate(texts):
        add(recorder, text, dict.fromkeys(parameters, number))
    return recorder.records("postgres")


class Large:
    """A value that nothing may keep alive."""

    def __repr__(self) -> str:
        raise RuntimeError


def test_nothing_that_is_large_is_kept(recorder: Recorder) -> None:
    large, connection = Large(), Large()
    references = [weakref.ref(large), weakref.ref(connection)]
    text = "x" * 1_000_000
    add(recorder, text, {"one": large, "long": text}, connection=connection)
    add(recorder, b"SELECT", [large, text.encode(), [large] * 1000])
    del large, connection
    gc.collect()
    assert [each() for each in references] == [None, None]
    (of_text, of_bytes) = recorder.records("postgres")
    assert len(of_text.text) < 5000
    assert len(repr((of_text.parameters, of_bytes))) < 1000
    assert [len(line) < 500 for line in shown(recorder)] == [True, True]
    for number in range(2000):
        add(recorder, str(number))
    assert [each.text for each in recorder.records("postgres")[::999]] == ["1000", "1999"]
    assert recorder.count == 2002


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("INSERT INTO a (b) VALUES (%(password)s)", {"password": "hunter2"}),
        ("INSERT INTO a (api_key, b) VALUES (%s, %s)", ("hunter2", "hunter2")),
        ("INSERT INTO a (b, token) VALUES ('it''s', E'\\'hunter2')", None),
        ("ALTER ROLE a PASSWORD $$hunter2$$", None),
        ("SELECT secret($1)", [b"hunter2"]),
        ("UPDATE a SET b = %(b)s", {"b": '{"token": "hunter2"}'}),
    ],
)
def test_secrets_are_masked(recorder: Recorder, text: str, parameters: object) -> None:
    add(recorder, text, parameters)
    (line,) = shown(recorder)
    assert "hunter2" not in line
    assert "***" in line


def test_values_of_each_kind_are_shown(recorder: Recorder) -> None:
    day = datetime.date(2024, 2, 29)
    add(recorder, "1", {"day": day, "none": None, "text": "a\nb", "object": SimpleNamespace()})
    add(recorder, "2", [(1, "a"), (2, "b")])
    add(recorder, "3", ())
    add(recorder, "SELECT a, " + "b, " * 90 + "c FROM d WHERE e")
    assert shown(recorder) == [
        "1  [day=datetime.date(2024, 2, 29), none=None, text='a\\nb', object=<SimpleNamespace>]",
        "2  [1, 'a']",
        "3",
        "SELECT a, ... FROM d WHERE e",
    ]


def test_whatever_is_given_the_application_goes_on(recorder: Recorder) -> None:
    for parameters in (Large(), {Large(): Large()}, iter([1]), SimpleNamespace(), {1, 2}, [[]]):
        add(recorder, Large(), parameters, rows=Large(), error=ValueError(Large()))
    recorder.listeners.append(lambda _: 1 / 0)
    add(recorder, "SELECT 1")
    cursor = SimpleNamespace()
    execute = statement_hooks.HOOKS["psycopg"](
        SimpleNamespace(Cursor=1, AsyncCursor=1, ServerCursor=1, AsyncServerCursor=1)
    )
    _, _, wrap = next(execute)
    assert wrap(lambda *given: given, recorder)(cursor, "SELECT", 1) == (cursor, "SELECT", 1)
    with pytest.raises(ZeroDivisionError):
        wrap(lambda *_: 1 / 0, recorder)(cursor)


def test_the_line_is_that_of_the_innermost_file_of_no_library() -> None:
    line = caller()
    assert line is not None
    assert (Path(line.path).name, line.function) == (
        Path(__file__).name,
        "test_the_line_is_that_of_the_innermost_file_of_no_library",
    )
    found: list[Line | None] = []
    sorted([1], key=lambda _: found.append(caller()) or 0)
    assert found[0] is not None
    assert found[0].function == "<lambda>"


def test_statements_are_of_one_shape_where_only_values_differ() -> None:
    shape = repeated_statements.shape
    assert shape("SELECT  1, 'a''b'\nFROM t1") == shape("SELECT 23.5, '' FROM t1")
    assert shape("a IN (%s, %s)") == shape("a IN (%s)") == shape("a IN ($1::int, $2::int)")
    assert shape("SELECT a FROM t1") != shape("SELECT a FROM t2")
    assert shape("WHERE a = %(a_1)s") == "WHERE a = %(a_1)s"


def test_one_query_for_each_object_is_told_from_one_that_is_repeated() -> None:
    of_each = repeated_statements.one_for_each
    select = "SELECT 1 WHERE a = %(a)s"
    (found,) = of_each(sent(*[select] * 11, a=1))
    assert len(found.records) == 11
    assert not of_each(sent(*[select] * 10, "SELECT 2", a=1))
    assert not of_each(sent(*[select] * 30)), "it waits for something"
    assert not of_each(sent(*["INSERT INTO a"] * 11, a=1))
    assert not of_each(sent(*["INSERT INTO a", select] * 11, a=1)), "it writes in between"
    assert of_each(sent(*(f"select {number}" for number in range(11))))


def test_coroutine_functions_of_drivers_are_still_known_as_such() -> None:
    def functions() -> list[Any]:
        return [
            psycopg.AsyncCursor.execute,
            asyncpg.Connection.fetch,
            redis.asyncio.Redis.execute_command,
            redis.asyncio.client.Pipeline.execute,
        ]

    watch = driver_hooks.Watch(Recorder({}), {**statement_hooks.HOOKS, **redis_hooks.HOOKS})
    before = functions()
    watch.start()
    try:
        replaced = functions()
        known = inspect if sys.version_info >= (3, 12) else asyncio
        assert all(map(known.iscoroutinefunction, replaced))
    finally:
        watch.stop()
    assert not set(replaced) & set(before)
    assert functions() == before


def test_a_driver_that_a_thread_is_importing_is_watched_when_it_is_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = ModuleType("half_there")
    module.__spec__ = ModuleSpec("half_there", None)
    monkeypatch.setitem(sys.modules, "half_there", module)
    asked = []
    watch = driver_hooks.Watch(Recorder({}), {"half_there": lambda it: asked.append(it) or ()})
    module.__spec__._initializing = True  # type: ignore[attr-defined]
    watch.start()
    assert asked == []
    module.__spec__._initializing = False  # type: ignore[attr-defined]
    watch.start()
    assert asked == [module]
    watch.start()
    assert asked == [module], "what is watched already is not asked again"
