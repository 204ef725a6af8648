"""Real Postgres, Redis and Kafka in pytest, and a clean slate for every test."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_berth.service import Server, Service, Source
    from pytest_berth.waiting import wait_for, wait_for_async

__all__ = ["Server", "Service", "Source", "wait_for", "wait_for_async"]

_HOMES = {
    "Server": "service",
    "Service": "service",
    "Source": "service",
    "wait_for": "waiting",
    "wait_for_async": "waiting",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: an idle plugin needs none of them."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
