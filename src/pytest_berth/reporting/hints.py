"""What a failure report adds about the likely cause of an error: a title, and what to do.

A test used an async connection in another event loop than its own; a Postgres server has no
connection left; the application reached for a server of the run that nobody has asked for, or is
told of another one.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pytest_berth.config import exports
from pytest_berth.config.options import AUTOUSE, DJANGO, EXPORT

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from types import TracebackType

    from pytest_berth.api import Service
    from pytest_berth.run.plugin_state import PluginState

# Patterns are compiled where a test has failed.
_OTHER_LOOP = (
    r"attached to a different loop|bound to a different event loop|Event loop is closed"
    r"|another operation is in progress"
)
_POOLED = ("sqlalchemy.", "asyncpg.", "psycopg_pool.", "redis.")
EVENT_LOOPS = "event loops"
_EVENT_LOOPS_HINT = """\
A connection was used in another event loop than the one that it was opened in.
  why: a pool of the application keeps connections, and the runner of async tests gives each test a
       loop of its own
  do:  create_async_engine(..., poolclass=NullPool) where tests run
       or one loop for all tests, with pytest-asyncio: asyncio_default_test_loop_scope = session
       and asyncio_default_fixture_loop_scope = session; with anyio: an anyio_backend fixture of
       session scope
       or await engine.dispose() at the end of each test"""
_NO_SLOT = (
    r"too many clients already|remaining connection slots are reserved"
    r"|too many connections for (role|database)"
)
CONNECTIONS = "postgres connections"
_CONNECTIONS_HINT = """\
The Postgres server has no connection left.
  why: connections stay open beyond their tests, mostly in an engine or pool that is made for each
       test and never disposed of; all workers of the run share the server's max_connections, which
       is 300 where berth has started it
  do:  close what the test opens: engine.dispose(), pool.close(); or make one pool for the session
       SELECT application_name, state, query FROM pg_stat_activity tells whose they are
       or allow more: berth_pg_settings = max_connections=1000, or berth_pg_scope = worker"""
_REFUSED = (
    r"refused|Connect call failed|NoBrokersAvailable|Unable to bootstrap|KafkaConnectionError"
)
NO_SERVER = "no server"


def of_event_loops(error: BaseException) -> str:
    """Return what to set where an error comes from a pool in several event loops; else nothing."""
    for each in _chain(error):
        if re.search(_OTHER_LOOP, str(each)) and any(map(_is_pooled, _modules(each.__traceback__))):
            return _EVENT_LOOPS_HINT
    return ""


def of_too_many_connections(error: BaseException) -> str:
    """Return what to do where an error says that there are too many connections; else nothing."""
    return (
        _CONNECTIONS_HINT if any(re.search(_NO_SLOT, str(each)) for each in _chain(error)) else ""
    )


def of_refused_connection(
    error: BaseException, berth: PluginState, reached: Collection[Service]
) -> str:
    """Return what to set where an exported address answers nobody; else nothing."""
    service = _refused(error, berth)
    return _refused_hint(berth, service) if service and service not in reached else ""


def of_failed_import(error: BaseException, berth: PluginState) -> str:
    """Return what to change where the application connects before there are any tests."""
    service = _refused(error, berth)
    if not service:
        return ""
    return (
        f"The {service.name} server of this run has not been started yet: servers start with the"
        " first test that needs one.\n"
        f"  why: {_told_by(berth, service)}, which"
        " connects when it is imported\n"
        "  do:  let it connect when it is first used, in a function or a fixture; an engine of"
        " SQLAlchemy, made on import, does so"
    )


def tell_changed_variables(berth: PluginState) -> None:
    """Let the summary name exported variables that something has changed before the tests."""
    servers = berth.manager.registry.all("planned")
    names = exports.changed(berth.exported, os.environ, [server.port for server in servers])
    if names:
        berth.hint(
            f"{EXPORT.name} has set {' and '.join(names)}, and something has changed it before"
            " the first test: the application works where that leads. Look for os.environ in a"
            " conftest.py, pytest-env's `env`, a .env file that overrides"
        )


def _refused(error: BaseException, berth: PluginState) -> Service | None:
    """Return the service whose exported address answered nobody, if that is the error."""
    texts = [f"{type(each).__name__}: {each}" for each in _chain(error)]
    if not any(re.search(_REFUSED, text) for text in texts):
        return None
    exported = filter(berth.exports_any, berth.services)
    return next((service for service in exported if _names(berth, service, texts)), None)


def _names(berth: PluginState, service: Service, texts: list[str]) -> bool:
    servers = [
        each for each in berth.manager.registry.all("planned") if each.service == service.name
    ]
    ports = "|".join(str(server.port) for server in servers)
    return bool(ports) and any(re.search(rf"\b({ports})\b", text) for text in texts)


def telling(berth: PluginState, service: Service) -> tuple[str, list[str]]:
    """Return the setting that tells the application of a service, and by which names it does."""
    known = service.placeholders_for(berth.settings)
    found = [each for each in berth.exports if each.placeholders & known]
    named = [each.variable for each in found if each.origin != DJANGO.name]
    return (EXPORT.name, named) if named else (DJANGO.name, ["DATABASES"])


def _told_by(berth: PluginState, service: Service) -> str:
    setting, names = telling(berth, service)
    return f"{setting} tells the application of it ({' and '.join(names)})"


def _refused_hint(berth: PluginState, service: Service) -> str:
    return (
        f"The {service.name} server of this run was not started, or not for this test: it asks for"
        f" no fixture of it.\n"
        f"  why: {_told_by(berth, service)}, but"
        " servers run only for tests that are known to need them\n"
        f"  do:  {AUTOUSE.name} = {service.prefix} in the ini file, for all tests or those in"
        " berth_autouse_paths\n"
        f'       or a fixture: @pytest.mark.usefixtures("{service.prefix}_server")'
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error, and those that it came from."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _modules(traceback: TracebackType | None) -> Iterator[str]:
    while traceback:
        yield f"{traceback.tb_frame.f_globals.get('__name__', '')}."
        traceback = traceback.tb_next


def _is_pooled(module: str) -> bool:
    return module.startswith(_POOLED)
