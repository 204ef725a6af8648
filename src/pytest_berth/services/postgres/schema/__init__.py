"""Schema and seeds: what the lines of ``berth_pg_schema`` and ``berth_pg_seed`` do."""

from __future__ import annotations

from pytest_berth.services.postgres.schema.parse_lines import parse
from pytest_berth.services.postgres.schema.steps import FORMS, Step, Target

__all__ = ["FORMS", "Step", "Target", "parse"]
