"""What redis-py sends in this process, sync and async: told to a recorder, with the line it is by.

The commands of a pipeline are told as it is executed, with what each has returned. Clients of other
libraries, such as coredis, cannot be seen.
"""

from __future__ import annotations

import re
import sys
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

from pytest_berth.waiting import now

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from types import ModuleType

    from pytest_berth.isolation.application_lines import Line
    from pytest_berth.isolation.driver_hooks import Hooks
    from pytest_berth.isolation.recorder import Recorder

SERVICE = "redis"
# Of a longer pipeline the first commands are told, and the one that has failed.
_MOST_OF_A_PIPELINE = 20
_OF_USERS = {"ACL", "acl", b"ACL"}
_FAILED = re.compile(r"Command # (\d+) ")


def _execute(original: Any, recorder: Recorder, *, is_answered: bool = True) -> Any:
    @wraps(original)
    def execute_command(client: Any, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        line = recorder.sender(sys._getframe(1))
        if line is None:
            return original(client, *args, **options)
        started = now()
        try:
            answer = original(client, *args, **options)
        except BaseException as error:
            _tell(recorder, client, args, line, started, error=error)
            raise
        _tell(recorder, client, args, line, started, answer=answer if is_answered else True)
        return answer

    return execute_command


def _execute_async(original: Any, recorder: Recorder, *, is_answered: bool = True) -> Any:
    @wraps(original)
    async def told(line: Line, client: Any, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        started = now()
        try:
            answer = await original(client, *args, **options)
        except BaseException as error:
            _tell(recorder, client, args, line, started, error=error)
            raise
        _tell(recorder, client, args, line, started, answer=answer if is_answered else True)
        return answer

    # Not async itself: a task that runs it later would not have the line.
    @wraps(original)
    def execute_command(client: Any, *args: Any, **options: Any) -> Any:
        line = recorder.sender(sys._getframe(1))
        if line is None:
            return original(client, *args, **options)
        return told(line, client, *args, **options)

    return execute_command


def _pipeline(original: Any, recorder: Recorder) -> Any:
    @wraps(original)
    def execute(pipeline: Any, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        line, commands = _queued(recorder, pipeline, sys._getframe(1))
        if line is None:
            return original(pipeline, *args, **options)
        started = now()
        try:
            answers = original(pipeline, *args, **options)
        except BaseException as error:
            _tell_pipeline(recorder, pipeline, commands, line, started, error=error)
            raise
        _tell_pipeline(recorder, pipeline, commands, line, started, answers)
        return answers

    return execute


def _pipeline_async(original: Any, recorder: Recorder) -> Any:
    @wraps(original)
    async def told(line: Line, commands: Any, pipeline: Any, *args: Any, **options: Any) -> Any:
        __tracebackhide__ = True
        started = now()
        try:
            answers = await original(pipeline, *args, **options)
        except BaseException as error:
            _tell_pipeline(recorder, pipeline, commands, line, started, error=error)
            raise
        _tell_pipeline(recorder, pipeline, commands, line, started, answers)
        return answers

    @wraps(original)
    def execute(pipeline: Any, *args: Any, **options: Any) -> Any:
        line, commands = _queued(recorder, pipeline, sys._getframe(1))
        if line is None:
            return original(pipeline, *args, **options)
        return told(line, commands, pipeline, *args, **options)

    return execute


def _queued(recorder: Recorder, pipeline: Any, frame: Any) -> tuple[Line | None, list[Any]]:
    """Return the line that executes a pipeline, None if that is ours; and the commands in it."""
    commands = list(getattr(pipeline, "command_stack", ()))
    return (recorder.sender(frame) if commands else None), commands


def _tell(
    recorder: Recorder,
    client: Any,
    args: Sequence[Any],
    line: Line,
    started: float,
    answer: Any = True,
    error: BaseException | None = None,
) -> None:
    # The rules of a user name passwords.
    command = tuple(args[:2]) if args and args[0][:3] in _OF_USERS else tuple(args)
    pool = getattr(client, "connection_pool", None)
    recorder.add_command(SERVICE, command, line, started, pool, answer, error)


def _tell_pipeline(
    recorder: Recorder,
    pipeline: Any,
    commands: Sequence[Any],
    line: Line,
    started: float,
    answers: Any = (),
    *,
    error: BaseException | None = None,
) -> None:
    """Tell of a pipeline, and of its commands, whose time is that of the whole."""
    at = _FAILED.match(str(error)) if error is not None else None
    failed = int(at[1]) - 1 if at else -1
    _tell(
        recorder,
        pipeline,
        (f"pipeline of {len(commands)}:",),
        line,
        started,
        error=None if at else error,
    )
    ended = now()
    for number, (args, *_) in enumerate(commands):
        if number >= _MOST_OF_A_PIPELINE and number != failed:
            continue
        answer = answers[number] if number < len(answers) else True
        own = answer if isinstance(answer, Exception) else error if number == failed else None
        _tell(recorder, pipeline, args, line, ended, answer=answer, error=own)


def _of_redis(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    yield module.Redis, "execute_command", _execute
    yield module.PubSub, "execute_command", partial(_execute, is_answered=False)
    yield module.Pipeline, "immediate_execute_command", _execute
    yield module.Pipeline, "execute", _pipeline


def _of_async_redis(module: ModuleType) -> Iterator[tuple[Any, str, Any]]:
    yield module.Redis, "execute_command", _execute_async
    yield module.PubSub, "execute_command", partial(_execute_async, is_answered=False)
    yield module.Pipeline, "immediate_execute_command", _execute_async
    yield module.Pipeline, "execute", _pipeline_async


HOOKS: Hooks = {"redis.client": _of_redis, "redis.asyncio.client": _of_async_redis}
