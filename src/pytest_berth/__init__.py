"""Real Postgres, Redis and Kafka in pytest, and a clean slate for every test."""

from __future__ import annotations

from pytest_berth.service import Server, Service, Source
from pytest_berth.waiting import wait_for

__all__ = ["Server", "Service", "Source", "wait_for"]
