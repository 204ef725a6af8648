"""Schema and seeds: what the lines of ``berth_pg_schema``, ``berth_mysql_seed`` and so on do."""

from __future__ import annotations

from pytest_berth.schema.parse_lines import parse
from pytest_berth.schema.steps import FORMS, Step, Target

__all__ = ["FORMS", "Step", "Target", "parse"]
