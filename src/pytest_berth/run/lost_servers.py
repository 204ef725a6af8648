"""Tells that a server is lost: the test that sees it says so, and later tests get another one.

The new server has the address and the account of the lost one, so that what tests or the
application know of it stays right.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from pytest_berth.debug_log import ignoring
from pytest_berth.errors import IsolationError, NotOursError, NotReadyError, StartError
from pytest_berth.run.readiness import log_end
from pytest_berth.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_berth.api import Server, Service
    from pytest_berth.run.plugin_state import PluginState

T = TypeVar("T")
# What drivers raise when a connection fails; a function where some may be imported meanwhile.
Errors: TypeAlias = "tuple[type[Exception], ...] | Callable[[], tuple[type[Exception], ...]]"
# A server that lives may be recovering: Postgres does so when one of its processes was killed.
_RECOVERS_WITHIN = 5.0


class LostError(IsolationError):
    """The server of a test has ended; later tests get another one."""


@contextmanager
def raise_if_lost(
    berth: PluginState, service: Service, server: Server, errors: Errors
) -> Iterator[None]:
    """Raise a clear error in place of a failed connection where the server is lost.

    Args:
        berth: The run.
        service: The server's kind.
        server: The server.
        errors: What its drivers raise when a connection fails.

    Raises:
        LostError: The server has ended, does not answer, or another one has taken its place.
    """
    try:
        yield
    except Exception as error:
        caught = errors() if callable(errors) else errors
        if not isinstance(error, (NotOursError, *caught)):
            raise
        silent = _silence(berth, service, server)
        told = find_ended(berth, server)
        if told or silent:
            told = told or _lost(berth, server, silent)
            if isinstance(error, NotOursError):
                told.why += f"\n{error.what}\n{error.why}"
            raise told from error
        raise


def find_ended(berth: PluginState, server: Server) -> LostError | None:
    """Ask whether a server has ended; if so, note it, so that later tests get another one.

    That it does not answer is not enough: the test may have blocked the network.

    Returns:
        What to tell, with the end of its log; None where it runs, or nobody can know.
    """
    manager = berth.manager
    if manager.is_replaced(server):
        return _lost(berth, server, "another worker saw it end, and one is in its place already")
    status = manager.exit_status(server)
    if not status:
        return None
    manager.mark_lost(server)
    return _lost(berth, server, status)


def on_living_server(
    berth: PluginState,
    service: Service,
    errors: Errors,
    work: Callable[[Server], T],
) -> T:
    """Call `work` with the server that the worker shares; again with a new one if it is lost.

    Raises:
        LostError: It is external, and lost.
        StartError: Servers were lost too often.
    """
    while True:
        server = berth.server(service)
        try:
            with raise_if_lost(berth, service, server, errors):
                return work(server)
        except LostError:
            if not berth.manager.is_lost(server):
                raise


def _silence(berth: PluginState, service: Service, server: Server) -> str:
    """Return why a server that has not ended does not answer; nothing when it does."""
    manager, reason = berth.manager, ""

    def is_settled() -> bool:
        nonlocal reason
        try:
            if not manager.exit_status(server):
                service.backend.probe(server)
        except (NotReadyError, StartError) as error:
            reason = error.why or error.what
            return False
        except NotOursError as error:
            reason = f"{error.what} {error.why}"
            return True
        reason = ""
        return True

    with ignoring(TimeoutError, why=f"{server.service} does not answer"):
        wait_for(is_settled, 0.0 if server.source == "external" else _RECOVERS_WITHIN)
    return reason


def _lost(berth: PluginState, server: Server, reason: str) -> LostError:
    if server.source == "external":
        remedy = "start it again; where nobody has stopped it, its log says why it ended"
    else:
        remedy = "where nobody has stopped it, the end of its log says why it ended;"
        remedy += " later tests get another one" if berth.manager.is_lost(server) else " run again"
    log = log_end(berth.manager.source(server), server)
    return LostError(
        f"the {server.service} server is lost.",
        why=f"{server.source} at {server.host}:{server.port}: {reason}{log}",
        remedy=remedy,
    )
