"""A server that is lost in the middle of a run, as Postgres's drivers see it."""

from __future__ import annotations

import psycopg
from sqlalchemy.exc import DBAPIError

ERRORS = (psycopg.OperationalError, DBAPIError)
