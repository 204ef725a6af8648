"""A server that is lost in the middle of a run, as Postgres's drivers see it."""

from __future__ import annotations

import sys

import psycopg


def errors() -> tuple[type[Exception], ...]:
    """Return what psycopg raises, and SQLAlchemy where something has imported it."""
    alchemy = sys.modules.get("sqlalchemy.exc")
    return (psycopg.OperationalError, *([alchemy.DBAPIError] if alchemy else ()))
