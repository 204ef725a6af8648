"""Applies steps to a database, and shows meanwhile which one is at work."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_berth.config.options import mask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_berth.run.plugin_state import PluginState
    from pytest_berth.schema.steps import Step, Target


def apply(berth: PluginState, service: str, steps: Sequence[Step], target: Target) -> None:
    """Do the work of steps, one after the other, for good.

    Args:
        berth: The run.
        service: What progress and timeline call the database's service.
        steps: Schema and seeds, in their order.
        target: The database.

    Raises:
        SchemaError: A step failed.
        SettingsError: What a step names is not there.
    """
    try:
        for step in steps:
            line = mask(target.redact(step.line))
            berth.progress.phase(service, f"schema and seeds: {line}")
            with berth.run.timeline.measured("step", service, detail=line):
                step.run(target)
    finally:
        berth.progress.phase(service, "")
