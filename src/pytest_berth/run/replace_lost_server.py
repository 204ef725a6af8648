"""Crash recovery: a server that was lost is replaced by one with its address and its account.

Kept apart, as hardly any run needs it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pytest_berth.errors import StartError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pytest_berth.api import Server, Service
    from pytest_berth.run.server_start import Starter

_MOST_RESTARTS = 2


def replace_lost(
    starter: Starter, service: Service, lost: Server, beside: Mapping[str, Server]
) -> Server:
    """Launch a server in the place of a lost one, with its address and its account.

    Args:
        starter: What starts servers.
        service: The service.
        lost: The lost server.
        beside: The servers that it depends on, by the names under which it finds them.

    Raises:
        RunEndedError: The run ended meanwhile; nothing of the server is left.
        StartError: It did not become ready, or too many were lost.
    """
    if lost.restarts >= _MOST_RESTARTS:
        raise StartError(
            f"{service.name} was lost {lost.restarts + 1} times, and is not started again.",
            why="the tests that saw it being lost show the end of its log each time",
            remedy="look there, and for memory or a disk that was full",
        )
    starter.stop(lost)
    starter.registry.forget_launched(lost)
    plan = dataclasses.replace(
        lost, handle={}, restarts=lost.restarts + 1, reuse_record="", reattached=False
    )
    return starter.launch(service, starter.beside(service, plan, beside))
